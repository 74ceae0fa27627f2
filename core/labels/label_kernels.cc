#include "core/labels/label_kernels.h"

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/simd/row_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/labels/label_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/highway.h"

// Plain loops that the compiler vectorizes for each instruction set; integer results are the same
// on all of them.
HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// Has no branches, and no ordered comparisons, because SSE2 has none for vectors of 64-bit lanes.
/// A label out of range sets a sign bit instead.
template <typename T, typename Stored>
bool StoreLabelsOf(const LabelRange& range, const std::byte* from, size_t count, std::byte* to,
                   uint64_t* ignored) {
  // A uint64 beyond int64 could look like a negative ignore_index.
  const bool may_ignore = !std::is_same_v<T, uint64_t> || range.ignore_index >= 0;
  const int64_t ignore_index = range.ignore_index;
  const auto most = static_cast<uint64_t>(range.classes - 1);
  uint64_t signs = 0;
  uint64_t matches = 0;
  for (size_t i = 0; i < count; ++i) {
    const T raw = LoadRaw<T>(from + i * sizeof(T));
    const auto label = static_cast<int64_t>(raw);  // NOLINT(bugprone-signed-char-misuse): a number.
    const uint64_t ignore = label == ignore_index && may_ignore ? ~uint64_t{0} : 0;
    matches -= ignore;
    const uint64_t kept = static_cast<uint64_t>(label) & ~ignore;
    signs |= kept | (most - kept);
    StoreRaw(to + i * sizeof(Stored), static_cast<Stored>(kept | ignore));
  }
  *ignored = matches;
  return signs >> 63U == 0;
}

bool StoreAll(DType dtype, size_t width, const LabelRange& range, const std::byte* from,
              size_t count, std::byte* to, uint64_t* ignored) {
  return WithIntegerType(dtype, [&](auto type) {
    using T = decltype(type);
    if (width == 1) return StoreLabelsOf<T, uint8_t>(range, from, count, to, ignored);
    if (width == 2) return StoreLabelsOf<T, uint16_t>(range, from, count, to, ignored);
    return StoreLabelsOf<T, uint32_t>(range, from, count, to, ignored);
  });
}

template <typename Stored>
void LoadLabelsOf(const std::byte* from, size_t count, int32_t* to) {
  for (size_t i = 0; i < count; ++i) {
    const auto label = LoadRaw<Stored>(from + i * sizeof(Stored));
    to[i] = label == static_cast<Stored>(-1) ? -1 : static_cast<int32_t>(label);
  }
}

void LoadAll(size_t width, const std::byte* from, size_t count, int32_t* to) {
  if (width == 1) return LoadLabelsOf<uint8_t>(from, count, to);
  if (width == 2) return LoadLabelsOf<uint16_t>(from, count, to);
  LoadLabelsOf<uint32_t>(from, count, to);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(StoreAll);
HWY_EXPORT(LoadAll);

bool StoreLabels(DType dtype, size_t width, const LabelRange& range, const std::byte* from,
                 size_t count, std::byte* to, uint64_t* ignored) {
  return HWY_DYNAMIC_DISPATCH(StoreAll)(dtype, width, range, from, count, to, ignored);
}

void LoadLabels(size_t width, const std::byte* from, size_t count, int32_t* to) {
  HWY_DYNAMIC_DISPATCH(LoadAll)(width, from, count, to);
}

}  // namespace lossd
#endif  // HWY_ONCE
