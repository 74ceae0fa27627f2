#include "bench/core/bandwidth.h"

#include "core/simd/row_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/core/bandwidth.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::bench::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float Read(const float* from, size_t count) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d);
  auto b = a;
  auto c = a;
  auto e = a;
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Max(a, hn::LoadU(d, from + i));
    b = hn::Max(b, hn::LoadU(d, from + i + lanes));
    c = hn::Max(c, hn::LoadU(d, from + i + 2 * lanes));
    e = hn::Max(e, hn::LoadU(d, from + i + 3 * lanes));
  }
  float most = hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(a, b), hn::Max(c, e))));
  for (; i < count; ++i) most = HWY_MAX(most, from[i]);
  return most;
}

void Copy(const float* from, size_t count, float* to) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < count; i += lanes) hn::Stream(hn::LoadU(d, from + i), d, to + i);
  hwy::FlushStream();
}

}  // namespace lossd::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::bench {

HWY_EXPORT(Read);
HWY_EXPORT(Copy);

float ReadAll(const std::byte* from, size_t bytes) {
  return HWY_DYNAMIC_DISPATCH(Read)(reinterpret_cast<const float*>(from), bytes / sizeof(float));
}

void StreamingCopy(const std::byte* from, size_t bytes, std::byte* to) {
  HWY_DYNAMIC_DISPATCH(Copy)
  (reinterpret_cast<const float*>(from), bytes / sizeof(float), reinterpret_cast<float*>(to));
}

}  // namespace lossd::bench
#endif  // HWY_ONCE
