// The results to compute. Names match the protocol's.
#ifndef LOSSD_CORE_PROBLEM_OUTPUTS_H_
#define LOSSD_CORE_PROBLEM_OUTPUTS_H_

#include <cstdint>

namespace lossd {

struct Outputs {
  bool loss = true;
  bool grad_input = false;
  bool grad_target = false;  ///< Only with a probability target.
  bool grad_weight = false;  ///< Only with a class weight.
  bool log_sum_exp = false;
  uint32_t top_k = 0;  ///< If > 0: count positions whose class is among the k largest logits.

  [[nodiscard]] bool AnyGradient() const { return grad_input || grad_target || grad_weight; }

  bool operator==(const Outputs&) const = default;
};

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_OUTPUTS_H_
