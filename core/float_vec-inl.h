// Vectors of sixteen virtual float32 lanes and their exponential, compiled once for each
// instruction set.
//
// exp(x) is never taken of a difference x - max, whose rounding alone would cost 40 ulp at 80.
// Instead each x is split by itself, x = k ln 2 + r, which is exact enough for |x| <= 1200, and the
// result is kept as a mantissa times 2^(k - k_max + 64): exponent pairs, as in the two-pass softmax
// of Dukhan and Ablavatski (arXiv 2001.04438). The offset of 64 keeps every exponential that can
// matter away from float32's subnormal numbers.

#if defined(LOSSD_CORE_FLOAT_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_FLOAT_VEC_INL_H_
#undef LOSSD_CORE_FLOAT_VEC_INL_H_
#else
#define LOSSD_CORE_FLOAT_VEC_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kBlock = 16;  ///< Virtual lanes.
constexpr int32_t kScaleExponent = 64;
constexpr float kMagic =
    12582912.0F;  ///< 1.5 x 2^23: adding it leaves the nearest integer in the low bits.

using D = hn::CappedTag<float, kBlock>;
using DI = hn::Rebind<int32_t, D>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());
constexpr size_t kParts = kBlock / kLanes;
static_assert(kBlock % kLanes == 0);

// Targets without a fused multiply-add: correct, and slow.
#undef LOSSD_NO_FMA
#if HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_EMU128 || \
    HWY_TARGET == HWY_SCALAR
#define LOSSD_NO_FMA 1
#else
#define LOSSD_NO_FMA 0
#endif

/// a b + c with one rounding, on every target: some need the library's fma for it.
HWY_INLINE V FusedMulAdd(V a, V b, V c) {
#if LOSSD_NO_FMA
  const D d;
  HWY_ALIGN float as[kLanes];
  HWY_ALIGN float bs[kLanes];
  HWY_ALIGN float cs[kLanes];
  hn::Store(a, d, as);
  hn::Store(b, d, bs);
  hn::Store(c, d, cs);
  for (size_t i = 0; i < kLanes; ++i) cs[i] = std::fma(as[i], bs[i], cs[i]);
  return hn::Load(d, cs);
#else
  return hn::MulAdd(a, b, c);
#endif
}

/// Sixteen logits, padded with -inf beyond the row's end.
struct Block {
  // Written out, so that it is compiled for the target: GCC's implicit one on AArch64 is not.
  HWY_INLINE Block() {}  // NOLINT(modernize-use-equals-default)
  V parts[kParts];
};

/// Fewer than sixteen; nothing beyond them is read.
HWY_INLINE Block LoadPartial(const float* x, size_t count) {
  const D d;
  Block block;
  const float lowest = -std::numeric_limits<float>::infinity();
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  for (size_t p = 0; p < kParts; ++p) {
    const size_t begin = p * kLanes;
    const auto mask = hn::FirstN(d, count > begin ? count - begin : 0);
    block.parts[p] = hn::IfThenElse(mask, hn::MaskedLoad(mask, d, x + begin), hn::Set(d, lowest));
  }
#else
  HWY_ALIGN float padded[kBlock];
  std::fill(padded, padded + kBlock, lowest);
  std::memcpy(padded, x, count * sizeof(float));
  for (size_t p = 0; p < kParts; ++p) block.parts[p] = hn::Load(d, padded + p * kLanes);
#endif
  return block;
}

HWY_INLINE Block LoadBlock(const float* x, size_t begin, size_t classes) {
  if (HWY_UNLIKELY(begin + kBlock > classes)) return LoadPartial(x + begin, classes - begin);
  const D d;
  Block block;
  for (size_t p = 0; p < kParts; ++p) block.parts[p] = hn::LoadU(d, x + begin + p * kLanes);
  return block;
}

HWY_INLINE void StorePartial(const Block& block, size_t count, float* to) {
  const D d;
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  for (size_t p = 0; p < kParts; ++p) {
    const size_t begin = p * kLanes;
    const auto mask = hn::FirstN(d, count > begin ? count - begin : 0);
    hn::BlendedStore(block.parts[p], mask, d, to + begin);
  }
#else
  HWY_ALIGN float lanes[kBlock];
  for (size_t p = 0; p < kParts; ++p) hn::Store(block.parts[p], d, lanes + p * kLanes);
  std::memcpy(to, lanes, count * sizeof(float));
#endif
}

/// exp(x) 2^(64 - k_max) for x within 130 of the maximum, 0 below.
class ScaledExp {
 public:
  ScaledExp(float max, int32_t max_exponent)
      : floor_(hn::Set(D(), max - 130.0F)),
        offset_(hn::Set(DI(), static_cast<int32_t>(
                                  static_cast<uint32_t>(kScaleExponent - max_exponent) << 23U))) {}
  /// A maximum of its own for each lane; the exponents as ShiftedExponent gives them.
  ScaledExp(V max, V shifted_exponent)
      : floor_(hn::Sub(max, hn::Set(D(), 130.0F))),
        offset_(hn::Sub(hn::Set(DI(), kScaleExponent << 23),
                        hn::ShiftLeft<23>(hn::BitCast(DI(), shifted_exponent)))) {}
  HWY_INLINE ScaledExp() {}  // NOLINT(modernize-use-equals-default): as Block's.

  /// 1.5 x 2^23 + k, with the integer k nearest to x / ln 2.
  static HWY_INLINE V ShiftedExponent(V x) {
    const D d;
    return FusedMulAdd(x, hn::Set(d, 1.44269504F), hn::Set(d, kMagic));
  }

  // ln 2 in two parts: 13 bits, so that multiples up to 2^11 are exact, and the rest.
  // 1 + r + r^2 P(r), P by a minimax fit of the relative error over |r| <= 0.3467: 2^-28.0 with
  // coefficients in float32. Together with the roundings exp is within 1.1 ulp.
  HWY_INLINE V operator()(V x) const {
    const D d;
    const DI di;
    const V clamped = hn::Max(x, floor_);
    const V shifted = ShiftedExponent(clamped);
    const V k = hn::Sub(shifted, hn::Set(d, kMagic));
    V r = FusedMulAdd(k, hn::Set(d, -0.693115234375F), clamped);
    r = FusedMulAdd(k, hn::Set(d, -3.19461849e-05F), r);
    V p = hn::Set(d, 0x1.6a23f0p-10F);
    p = FusedMulAdd(p, r, hn::Set(d, 0x1.123a0ap-7F));
    p = FusedMulAdd(p, r, hn::Set(d, 0x1.5558f2p-5F));
    p = FusedMulAdd(p, r, hn::Set(d, 0x1.555492p-3F));
    p = FusedMulAdd(p, r, hn::Set(d, 0x1.fffffcp-2F));
    const V q = FusedMulAdd(hn::Mul(r, r), p, r);
    const V mantissa = hn::Add(hn::Set(d, 1.0F), q);
    const auto power = hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), offset_);
    const V scaled = hn::BitCast(d, hn::Add(hn::BitCast(di, mantissa), power));
    return hn::IfThenElseZero(hn::Ge(x, floor_), scaled);
  }

 private:
  V floor_;
  hn::Vec<DI> offset_;
};

/// A fixed tree over the virtual lanes.
HWY_INLINE double AddLanes(double (&lanes)[kBlock]) {
  for (size_t width = kBlock / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/// Sixteen sums in double. Four blocks are added in float32 first, by a fixed tree.
#if LOSSD_NO_FMA
class TailSum {
 public:
  void AddFour(const Block (&e)[4]) {
    const D d;
    HWY_ALIGN float lanes[kLanes];
    for (size_t p = 0; p < kParts; ++p) {
      hn::Store(
          hn::Add(hn::Add(e[0].parts[p], e[1].parts[p]), hn::Add(e[2].parts[p], e[3].parts[p])), d,
          lanes);
      for (size_t i = 0; i < kLanes; ++i) {
        lanes_[p * kLanes + i] += static_cast<double>(lanes[i]);
      }
    }
  }
  void AddOne(const Block& e) {
    const D d;
    HWY_ALIGN float lanes[kLanes];
    for (size_t p = 0; p < kParts; ++p) {
      hn::Store(e.parts[p], d, lanes);
      for (size_t i = 0; i < kLanes; ++i) {
        lanes_[p * kLanes + i] += static_cast<double>(lanes[i]);
      }
    }
  }
  double Total() { return AddLanes(lanes_); }
  void StoreTo(double* to) const { std::copy(lanes_, lanes_ + kBlock, to); }

 private:
  double lanes_[kBlock] = {};
};
#else
class TailSum {
 public:
  TailSum() {
    for (size_t p = 0; p < kParts; ++p) low_[p] = high_[p] = hn::Zero(DD());
  }

  HWY_INLINE void AddFour(const Block (&e)[4]) {
    const hn::Half<D> half;
    const DD dd;
    for (size_t p = 0; p < kParts; ++p) {
      const V sum =
          hn::Add(hn::Add(e[0].parts[p], e[1].parts[p]), hn::Add(e[2].parts[p], e[3].parts[p]));
      low_[p] = hn::Add(low_[p], hn::PromoteTo(dd, hn::LowerHalf(half, sum)));
      high_[p] = hn::Add(high_[p], hn::PromoteTo(dd, hn::UpperHalf(half, sum)));
    }
  }

  HWY_INLINE void AddOne(const Block& e) {
    const hn::Half<D> half;
    const DD dd;
    for (size_t p = 0; p < kParts; ++p) {
      low_[p] = hn::Add(low_[p], hn::PromoteTo(dd, hn::LowerHalf(half, e.parts[p])));
      high_[p] = hn::Add(high_[p], hn::PromoteTo(dd, hn::UpperHalf(half, e.parts[p])));
    }
  }

  /// `to` is aligned for vectors.
  HWY_INLINE void StoreTo(double* to) const {
    const DD dd;
    for (size_t p = 0; p < kParts; ++p) {
      hn::Store(low_[p], dd, to + p * kLanes);
      hn::Store(high_[p], dd, to + p * kLanes + kLanes / 2);
    }
  }

  HWY_INLINE double Total() const {
    HWY_ALIGN double lanes[kBlock];
    StoreTo(lanes);
    return AddLanes(lanes);
  }

 private:
  using DD = hn::Repartition<double, D>;
  hn::Vec<DD> low_[kParts];
  hn::Vec<DD> high_[kParts];
};
#endif

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_FLOAT_VEC_INL_H_
