// Options of the cross-entropy loss and the choice of outputs. Names mirror the protocol's.
#ifndef LOSSD_CORE_PROBLEM_OPTIONS_H_
#define LOSSD_CORE_PROBLEM_OPTIONS_H_

#include <cstdint>
#include <optional>

namespace lossd {

enum class Reduction : uint8_t { kMean, kSum, kNone };

/// What `mean` gives where no position counts.
enum class EmptyMean : uint8_t { kNaN, kZero };

/// Options of `torch.nn.CrossEntropyLoss` (the weight apart), and three of our own.
struct Options {
  Reduction reduction = Reduction::kMean;
  /// Positions with this label neither count nor get a gradient. Absent: -100.
  std::optional<int64_t> ignore_index;
  /// In [0, 1]: share of the target mass that is spread evenly over all classes.
  double label_smoothing = 0.0;
  /// Axis of the input that holds the classes, negative from the end. Absent: 1, or 0 for rank 1.
  std::optional<int32_t> class_axis;
  EmptyMean empty_mean = EmptyMean::kNaN;
  /// Divides in place of the sum of weights under `mean`: finite and not 0.
  std::optional<double> normalizer;

  bool operator==(const Options&) const = default;
};

inline constexpr int64_t kDefaultIgnoreIndex = -100;

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

#endif  // LOSSD_CORE_PROBLEM_OPTIONS_H_
