// Rows of few classes on their way into groups of sixteen lanes and back, for storage type T.
#ifndef LOSSD_CORE_GROUP_ROWS_INL_H_
#define LOSSD_CORE_GROUP_ROWS_INL_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/float_row.h"
#include "core/half.h"
#include "core/load.h"

namespace lossd {

/// Where a group lies: element (class c, position i) at base + (c * class_step + i *
/// position_step).
struct GroupLayout {
  size_t classes = 0;
  size_t count = 0;  ///< Positions, 1 to 16.
  size_t class_step = 1;
  size_t position_step = 1;
};

inline float WidenToFloat(float value) { return value; }
inline float WidenToFloat(Float16 value) { return ToFloat(value); }
inline float WidenToFloat(BFloat16 value) { return ToFloat(value); }

/// Gathers logits; lanes beyond the group's positions get zeros.
template <typename T>
void LoadGroup(const std::byte* from, const GroupLayout& layout, FloatGroup* group) {
  group->classes = layout.classes;
  if (layout.count < kGroup) std::memset(group->logits, 0, layout.classes * kGroup * sizeof(float));
  if (std::is_same_v<T, float> && layout.position_step == 1 && layout.count == kGroup) {
    for (size_t c = 0; c < layout.classes; ++c) {
      std::memcpy(group->logits + c * kGroup, from + c * layout.class_step * sizeof(T),
                  kGroup * sizeof(float));
    }
    return;
  }
  for (size_t i = 0; i < layout.count; ++i) {
    const std::byte* row = from + i * layout.position_step * sizeof(T);
    for (size_t c = 0; c < layout.classes; ++c) {
      group->logits[c * kGroup + i] =
          WidenToFloat(LoadRaw<T>(row + c * layout.class_step * sizeof(T)));
    }
  }
}

/// Scatters the gradients of the lanes that are good.
template <typename T>
void StoreGroup(const FloatGroup& group, const GroupLayout& layout, bool all_good, std::byte* to) {
  if (std::is_same_v<T, float> && layout.position_step == 1 && layout.count == kGroup && all_good) {
    for (size_t c = 0; c < layout.classes; ++c) {
      std::memcpy(to + c * layout.class_step * sizeof(T), group.gradients + c * kGroup,
                  kGroup * sizeof(float));
    }
    return;
  }
  for (size_t i = 0; i < layout.count; ++i) {
    if (!group.good[i]) continue;
    std::byte* row = to + i * layout.position_step * sizeof(T);
    for (size_t c = 0; c < layout.classes; ++c) {
      const float value = group.gradients[c * kGroup + i];
      if constexpr (std::is_same_v<T, float>) {
        StoreRaw(row + c * layout.class_step * sizeof(T), value);
      } else {
        StoreRaw(row + c * layout.class_step * sizeof(T), Narrow<T>(static_cast<double>(value)));
      }
    }
  }
}

/// How many classes rank before the label in lane i: greater logits, equal ones at lower indices.
inline uint64_t RankInGroup(const FloatGroup& group, size_t i) {
  const auto label = static_cast<size_t>(group.labels[i]);
  const float at = group.logits[label * kGroup + i];
  uint64_t rank = 0;
  for (size_t c = 0; c < group.classes; ++c) {
    const float other = group.logits[c * kGroup + i];
    if (other > at || (other == at && c < label)) ++rank;
  }
  return rank;
}

}  // namespace lossd

#endif  // LOSSD_CORE_GROUP_ROWS_INL_H_
