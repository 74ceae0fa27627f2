// The options of torch.nn.CrossEntropyLoss, except weight and reduction.
#ifndef LOSSD_CORE_PROBLEM_CROSS_ENTROPY_H_
#define LOSSD_CORE_PROBLEM_CROSS_ENTROPY_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/error.h"

namespace lossd {

/// Cross-entropy between logits and class indices or class probabilities.
struct CrossEntropy : ClassOptions {
  /// The name of its field in the protocol.
  static constexpr absl::string_view kName = "cross_entropy";

  /// The share of the target mass that is spread evenly over all classes; in [0, 1].
  double label_smoothing = 0.0;

  bool operator==(const CrossEntropy&) const = default;
};

/// Checks specific to this kind; see CheckCriterion.
inline absl::Status CheckKind(const CrossEntropy& kind, TargetKind target) {
  if (!(kind.label_smoothing >= 0.0 && kind.label_smoothing <= 1.0)) {
    return InvalidField("criterion.cross_entropy.label_smoothing", "LABEL_SMOOTHING_RANGE",
                        "expected a value in [0, 1], got ", kind.label_smoothing);
  }
  if (target == TargetKind::kProbabilities && kind.ignore_index.value_or(-1) >= 0) {
    return InvalidField("criterion.cross_entropy.ignore_index", "IGNORE_INDEX_WITH_PROBABILITIES",
                        "expected none, or a negative one, beside a probability target, got ",
                        *kind.ignore_index);
  }
  return absl::OkStatus();
}

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_CROSS_ENTROPY_H_
