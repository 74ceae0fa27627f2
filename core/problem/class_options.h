// Options that all criteria over a class axis share.
#ifndef LOSSD_CORE_PROBLEM_CLASS_OPTIONS_H_
#define LOSSD_CORE_PROBLEM_CLASS_OPTIONS_H_

#include <cstdint>
#include <optional>

namespace lossd {

enum class TargetKind : uint8_t { kClassIndex, kProbabilities };

inline constexpr int64_t kDefaultIgnoreIndex = -100;

struct ClassOptions {
  /// Positions with this label neither count nor get a gradient. Default: -100.
  std::optional<int64_t> ignore_index;
  /// The input's axis of classes; negative from the end. Default: 1, or 0 for rank 1.
  std::optional<int32_t> class_axis;

  bool operator==(const ClassOptions&) const = default;
};

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_CLASS_OPTIONS_H_
