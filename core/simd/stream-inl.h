// Non-temporal stores, which bypass the caches; compiled once for each instruction set.

#if defined(LOSSD_CORE_SIMD_STREAM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_SIMD_STREAM_INL_H_
#undef LOSSD_CORE_SIMD_STREAM_INL_H_
#else
#define LOSSD_CORE_SIMD_STREAM_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The number of elements, at most `count`, before `to` reaches a cache line; `count` if it never
/// does.
template <typename T>
size_t ElementsToLine(const T* to, size_t count) {
  const size_t bytes = (64 - reinterpret_cast<uintptr_t>(to) % 64) % 64;
  return bytes % sizeof(T) == 0 ? std::min(count, bytes / sizeof(T)) : count;
}

/// Copies a run by non-temporal stores of 16 bytes, also to partly written cache lines, which took
/// half the time of ordinary stores at (2,1000,60,65).
template <typename T>
HWY_INLINE void StreamRun(const T* from, size_t count, T* to) {
  constexpr size_t kSize = HWY_TARGET == HWY_SCALAR ? 1 : 16 / sizeof(T);
  const hn::CappedTag<T, kSize> d;
  const size_t bytes = (16 - reinterpret_cast<uintptr_t>(to) % 16) % 16;
  const size_t head = bytes % sizeof(T) == 0 ? HWY_MIN(count, bytes / sizeof(T)) : count;
  std::memcpy(to, from, head * sizeof(T));
  size_t i = head;
  for (; i + kSize <= count; i += kSize) {
    if constexpr (kSize > 1) {
      hn::Stream(hn::LoadU(d, from + i), d, to + i);
    } else {
      hn::StoreU(hn::LoadU(d, from + i), d, to + i);
    }
  }
  std::memcpy(to + i, from + i, (count - i) * sizeof(T));
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_SIMD_STREAM_INL_H_
