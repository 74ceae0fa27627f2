// The choice of results. Names mirror the protocol's.
#ifndef LOSSD_CORE_PROBLEM_OUTPUTS_H_
#define LOSSD_CORE_PROBLEM_OUTPUTS_H_

#include <cstdint>

namespace lossd {

/// Which results are wanted.
struct Outputs {
  bool loss = true;
  bool grad_input = false;
  bool grad_target = false;  ///< Probability targets only.
  bool grad_weight = false;  ///< Where a weight is given only.
  bool log_sum_exp = false;
  uint32_t top_k = 0;  ///< > 0: count positions whose class is among the k greatest logits.

  [[nodiscard]] bool AnyGradient() const { return grad_input || grad_target || grad_weight; }

  bool operator==(const Outputs&) const = default;
};

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_OUTPUTS_H_
