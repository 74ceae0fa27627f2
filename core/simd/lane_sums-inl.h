// Sixteen virtual float32 lanes in double, and sums by lane. Compiled once for each instruction
// set.

#if defined(LOSSD_CORE_SIMD_LANE_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_SIMD_LANE_SUMS_INL_H_
#undef LOSSD_CORE_SIMD_LANE_SUMS_INL_H_
#else
#define LOSSD_CORE_SIMD_LANE_SUMS_INL_H_
#endif

#include <cstddef>

#include "core/simd/float_vec-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

using WideHalf = hn::CappedTag<double, kLanes == 1 ? 1 : kLanes / 2>;

/// The lanes of one float32 vector in double. `high` is unused if there is only one lane.
struct Halves {
  // Explicit, as in Block: on AArch64, GCC does not compile the implicit ones for the target.
  HWY_INLINE Halves() {}  // NOLINT(modernize-use-equals-default)
  HWY_INLINE Halves(hn::Vec<WideHalf> low_lanes, hn::Vec<WideHalf> high_lanes)
      : low(low_lanes), high(high_lanes) {}
  HWY_INLINE explicit Halves(double value)
      : low(hn::Set(WideHalf(), value)), high(hn::Set(WideHalf(), value)) {}
  hn::Vec<WideHalf> low;
  hn::Vec<WideHalf> high;
};

HWY_INLINE Halves LoadHalves(const double* from) {
  const WideHalf d;
  return {hn::LoadU(d, from), hn::LoadU(d, from + (kLanes > 1 ? kLanes / 2 : 0))};
}
/// REQUIRES: `to` is aligned for vectors.
HWY_INLINE void StoreHalves(const Halves& v, double* to) {
  const WideHalf d;
  hn::Store(v.low, d, to);
  if (kLanes > 1) hn::Store(v.high, d, to + kLanes / 2);
}

HWY_INLINE Halves WidenLanes(V v) {
#if LOSSD_NO_FMA
  HWY_ALIGN float lanes[kLanes];
  HWY_ALIGN double wide[kLanes];
  hn::Store(v, D(), lanes);
  for (size_t i = 0; i < kLanes; ++i) wide[i] = static_cast<double>(lanes[i]);
  return LoadHalves(wide);
#else
  const WideHalf d;
  const hn::Half<D> half;
  return {hn::PromoteTo(d, hn::LowerHalf(half, v)), hn::PromoteTo(d, hn::UpperHalf(half, v))};
#endif
}

/// Rounds each lane to float32.
HWY_INLINE V NarrowLanes(const Halves& v) {
#if LOSSD_NO_FMA
  HWY_ALIGN double wide[kLanes];
  HWY_ALIGN float lanes[kLanes];
  StoreHalves(v, wide);
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = static_cast<float>(wide[i]);
  return hn::Load(D(), lanes);
#else
  const hn::Half<D> half;
  return hn::Combine(D(), hn::DemoteTo(half, v.high), hn::DemoteTo(half, v.low));
#endif
}

HWY_INLINE Halves operator+(const Halves& a, const Halves& b) {
  return {hn::Add(a.low, b.low), hn::Add(a.high, b.high)};
}
HWY_INLINE Halves operator-(const Halves& a, const Halves& b) {
  return {hn::Sub(a.low, b.low), hn::Sub(a.high, b.high)};
}
HWY_INLINE Halves operator*(const Halves& a, const Halves& b) {
  return {hn::Mul(a.low, b.low), hn::Mul(a.high, b.high)};
}
/// 0 where `mask` is 0, else `v`.
HWY_INLINE Halves ZeroWhereZero(const Halves& mask, const Halves& v) {
  const auto zero = hn::Zero(WideHalf());
  return {hn::IfThenZeroElse(hn::Eq(mask.low, zero), v.low),
          hn::IfThenZeroElse(hn::Eq(mask.high, zero), v.high)};
}

/// Adds the virtual lanes in a fixed tree.
HWY_INLINE double AddLanes(double (&lanes)[kBlock]) {
  for (size_t width = kBlock / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/// Sixteen sums in double. Adding two terms in float32 first took a tenth less time, but then
/// losses were off by up to 2.10 ulp, once in some millions of the rows of tail_accuracy_test.
class LaneSums {
 public:
  HWY_INLINE LaneSums() {
    for (Halves& sum : sums_) sum = Halves(0.0);
  }

  /// Adds lane i of `v` to sum p kLanes + i.
  HWY_INLINE void Add(size_t p, V v) { Add(p, WidenLanes(v)); }
  HWY_INLINE void Add(size_t p, const Halves& v) { sums_[p] = sums_[p] + v; }

  /// REQUIRES: `to` is aligned for vectors.
  HWY_INLINE void StoreTo(double* to) const {
    for (size_t p = 0; p < kParts; ++p) {
      lossd::HWY_NAMESPACE::StoreHalves(sums_[p], to + p * kLanes);
    }
  }

 private:
  Halves sums_[kParts];
};

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_SIMD_LANE_SUMS_INL_H_
