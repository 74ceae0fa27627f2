// Going over a row: prefetching, and finding a logit. Compiled once for each instruction set.

#if defined(LOSSD_CORE_SIMD_ROW_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_SIMD_ROW_SCAN_INL_H_
#undef LOSSD_CORE_SIMD_ROW_SCAN_INL_H_
#else
#define LOSSD_CORE_SIMD_ROW_SCAN_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "core/simd/float_vec-inl.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

constexpr size_t kChunk = 4 * kBlock;  ///< Classes evaluated together.
constexpr size_t kAhead = 4096;        ///< Prefetch distance in bytes.

/// Prefetches kElements elements at kAhead bytes beyond `elements`, because hardware prefetchers
/// stop at pages. A prefetch never faults, whatever its address.
template <size_t kElements, typename T>
HWY_INLINE void PrefetchAhead(const T* elements) {
  const auto* ahead = reinterpret_cast<const std::byte*>(elements) + kAhead;
  for (size_t line = 0; line < kElements * sizeof(T); line += 64) hwy::Prefetch(ahead + line);
}

/// The first index of `logit` from `begin` on; `classes` if there is none.
template <typename T>
HWY_INLINE size_t FindFrom(const T* x, size_t begin, size_t classes, float logit) {
  const D d;
  const V wanted = hn::Set(d, logit);
  size_t i = begin;
  // Skips whole chunks without it, then searches block by block.
  for (; i + kChunk <= classes; i += kChunk) {
    auto any = hn::Eq(LoadVector(x + i), wanted);
    for (size_t j = kLanes; j < kChunk; j += kLanes) {
      any = hn::Or(any, hn::Eq(LoadVector(x + i + j), wanted));
    }
    if (!hn::AllFalse(d, any)) break;
  }
  for (; i < classes; i += kBlock) {
    Block block;
    if (i + kBlock > classes) {
      block = LoadPartial(x + i, classes - i);
    } else {
      for (size_t p = 0; p < kParts; ++p) block.parts[p] = LoadVector(x + i + p * kLanes);
    }
    for (size_t p = 0; p < kParts; ++p) {
      const auto found = hn::FindFirstTrue(d, hn::Eq(block.parts[p], wanted));
      if (found >= 0) return std::min(classes, i + p * kLanes + static_cast<size_t>(found));
    }
  }
  return classes;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_SIMD_ROW_SCAN_INL_H_
