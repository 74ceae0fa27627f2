// The options of torch.nn.NLLLoss, except weight and reduction.
#ifndef LOSSD_CORE_PROBLEM_NLL_LOSS_H_
#define LOSSD_CORE_PROBLEM_NLL_LOSS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/error.h"

namespace lossd {

/// Negative log-likelihood of class indices, given log-probabilities: -w_y x_y.
struct NllLoss : ClassOptions {
  /// The name of its field in the protocol.
  static constexpr absl::string_view kName = "nll_loss";

  bool operator==(const NllLoss&) const = default;
};

/// Checks specific to this kind; see CheckCriterion.
inline absl::Status CheckKind(const NllLoss& /*kind*/, TargetKind target) {
  if (target == TargetKind::kClassIndex) return absl::OkStatus();
  return InvalidField("target.dtype", "DTYPE_MISMATCH",
                      "expected class indices of an integer type for nll_loss, got probabilities");
}

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_NLL_LOSS_H_
