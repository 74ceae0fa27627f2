// Vectors of sixteen virtual float32 lanes and their exponential, compiled once for each
// instruction set.
//
// exp(x) is never taken of a difference x - max, whose rounding alone would cost 40 ulp at 80.
// Instead each x is reduced by itself, x = n (ln 2 / 8) + r, which is exact enough for |x| <= 1200.
// The result is kept as a mantissa times 2^(k - k_ref + 61) with k = floor(n / 8). Such exponent
// pairs are those of the two-pass softmax of Dukhan and Ablavatski (arXiv 2001.04438), except that
// a row shares the second of the pair. The reference need not be the row's maximum, so the pass
// that finds the maximum also sums the row: the offset of 61 leaves room for 43 above the reference
// and 128 below it.

#if defined(LOSSD_CORE_SIMD_FLOAT_VEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_SIMD_FLOAT_VEC_INL_H_
#undef LOSSD_CORE_SIMD_FLOAT_VEC_INL_H_
#else
#define LOSSD_CORE_SIMD_FLOAT_VEC_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/problem/half.h"
#include "core/problem/load.h"
#include "core/simd/constants.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kBlock = 16;  ///< Virtual lanes.
constexpr int32_t kScaleExponent = 61;
constexpr float kHeadroom = 43.0F;  ///< How far a logit may lie above its reference.
constexpr float kDepth = 128.0F;  ///< A logit further below its reference counts as this far below.
constexpr float kMagic =
    12582912.0F;  ///< 1.5 x 2^23: adding it leaves the nearest integer in the low bits.
constexpr float kLog2E = 1.44269504F;
constexpr float kStepsPerLn2 = 0x1.715476p+3F;  ///< 8 / ln 2
// ln 2 / 8 in two parts: the first has 9 bits, so that its multiples up to 2^15 are exact; the
// second is the rest, which float32 happens to hold to 30 bits.
constexpr float kStepHigh = 0x1.63p-4F;
constexpr float kStepLow = -0x1.bd0106p-16F;

using D = hn::CappedTag<float, kBlock>;
using DI = hn::Rebind<int32_t, D>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());
constexpr size_t kParts = kBlock / kLanes;
static_assert(kBlock % kLanes == 0);

// Targets without a fused multiply-add are correct, but slow. Highway tells which they are: its
// releases differ in their targets, and a target missing from a list here would give other bits.
#undef LOSSD_NO_FMA
#if HWY_NATIVE_FMA
#define LOSSD_NO_FMA 0
#else
#define LOSSD_NO_FMA 1
#endif

/// a b + c with one rounding, on every target. Some targets need the library's fma for it.
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
  // Explicit, because on AArch64 GCC does not compile the implicit one for the target.
  HWY_INLINE Block() {}  // NOLINT(modernize-use-equals-default)
  V parts[kParts];
};

/// Loads one vector of elements of type T, widened exactly.
HWY_INLINE V LoadVector(const float* from) { return hn::LoadU(D(), from); }
HWY_INLINE V LoadVector(const BFloat16* from) {
  const hn::Rebind<uint16_t, D> d16;
  const hn::Rebind<uint32_t, D> d32;
  const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
}
HWY_INLINE V LoadVector(const Float16* from) {
#if LOSSD_NO_FMA
  HWY_ALIGN float wide[kLanes];
  for (size_t i = 0; i < kLanes; ++i) {
    wide[i] = ToFloat(LoadRaw<Float16>(reinterpret_cast<const std::byte*>(from + i)));
  }
  return hn::Load(D(), wide);
#else
  const hn::Rebind<hwy::float16_t, D> d16;
  return hn::PromoteTo(D(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from)));
#endif
}

/// Rounds a vector of finite values to T, to nearest even, and stores it; -0 becomes +0. kStream
/// asks for a non-temporal store, which needs the vector's own alignment.
template <bool kStream = false>
HWY_INLINE void StoreVector(V v, float* to) {
  // Adding +0 turns -0 into +0.
  const V sum = hn::Add(v, hn::Zero(D()));
  if constexpr (kStream && kLanes * sizeof(float) >= 16) {
    hn::Stream(sum, D(), to);
  } else {
    hn::StoreU(sum, D(), to);
  }
}

/// Stores 16-bit results; -0 becomes +0.
template <bool kStream, class D16, typename V16>
HWY_INLINE void StoreHalves(D16 d16, V16 bits, uint16_t* to) {
  const auto cleared = hn::IfThenZeroElse(hn::Eq(bits, hn::Set(d16, uint16_t{0x8000})), bits);
  // Highway's Stream writes at least 16 bytes.
  if constexpr (kStream && hn::MaxLanes(d16) * sizeof(uint16_t) >= 16) {
    hn::Stream(cleared, d16, to);
  } else {
    hn::StoreU(cleared, d16, to);
  }
}
/// Rounds to bfloat16, to nearest even; the result is in the upper half of each lane.
HWY_INLINE hn::Vec<DI> RoundedToUpper(V v) {
  const DI di;
  const auto bits = hn::BitCast(di, v);
  const auto lowest = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 1));
  return hn::Add(bits, hn::Add(lowest, hn::Set(di, 0x7FFF)));
}
template <bool kStream = false>
HWY_INLINE void StoreVector(V v, BFloat16* to) {
  const hn::Rebind<uint32_t, D> d32;
  const hn::Rebind<uint16_t, D> d16;
  const auto rounded = hn::ShiftRight<16>(hn::BitCast(d32, RoundedToUpper(v)));
  StoreHalves<kStream>(d16, hn::DemoteTo(d16, hn::BitCast(DI(), rounded)),
                       reinterpret_cast<uint16_t*>(to));
}
template <bool kStream = false>
HWY_INLINE void StoreVector(V v, Float16* to) {
  const hn::Rebind<uint16_t, D> d16;
#if LOSSD_NO_FMA
  HWY_ALIGN float wide[kLanes];
  HWY_ALIGN uint16_t narrow[kLanes];
  hn::Store(v, D(), wide);
  for (size_t i = 0; i < kLanes; ++i) narrow[i] = ToFloat16(static_cast<double>(wide[i])).bits;
  StoreHalves<kStream>(d16, hn::Load(d16, narrow), reinterpret_cast<uint16_t*>(to));
#else
  const hn::Rebind<hwy::float16_t, D> df16;
  StoreHalves<kStream>(d16, hn::BitCast(d16, hn::DemoteTo(df16, v)),
                       reinterpret_cast<uint16_t*>(to));
#endif
}

/// As StoreVector, for adjacent vectors. Packs bfloat16 vectors in pairs, with which a call with
/// gradient took 0.95 of the time.
template <bool kStream, size_t kCount, typename T>
HWY_INLINE void StoreVectors(const V (&v)[kCount], T* to) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (std::is_same_v<T, BFloat16> && kCount % 2 == 0) {
    const hn::Repartition<uint16_t, D> d16;
    for (size_t i = 0; i < kCount; i += 2) {
      const auto low = hn::BitCast(d16, RoundedToUpper(v[i]));
      const auto high = hn::BitCast(d16, RoundedToUpper(v[i + 1]));
      StoreHalves<kStream>(d16, hn::ConcatOdd(d16, high, low),
                           reinterpret_cast<uint16_t*>(to + i * kLanes));
    }
    return;
  }
#endif
  for (size_t i = 0; i < kCount; ++i) StoreVector<kStream>(v[i], to + i * kLanes);
}

inline float LowestOf(const float* /*type*/) { return -std::numeric_limits<float>::infinity(); }
inline BFloat16 LowestOf(const BFloat16* /*type*/) { return {0xFF80}; }
inline Float16 LowestOf(const Float16* /*type*/) { return {0xFC00}; }

/// Loads fewer than sixteen elements, and reads nothing beyond them; the rest is -inf.
template <typename T>
HWY_INLINE Block LoadPartial(const T* x, size_t count) {
  Block block;
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  if constexpr (std::is_same_v<T, float>) {
    const D d;
    const V lowest = hn::Set(d, LowestOf(x));
    for (size_t p = 0; p < kParts; ++p) {
      const size_t begin = p * kLanes;
      const auto mask = hn::FirstN(d, count > begin ? count - begin : 0);
      block.parts[p] = hn::IfThenElse(mask, hn::MaskedLoad(mask, d, x + begin), lowest);
    }
    return block;
  }
#endif
  HWY_ALIGN T padded[kBlock];
  std::fill(padded, padded + kBlock, LowestOf(x));
  std::memcpy(padded, x, count * sizeof(T));
  for (size_t p = 0; p < kParts; ++p) block.parts[p] = LoadVector(padded + p * kLanes);
  return block;
}

/// Stores fewer than sixteen elements, and writes nothing beyond them.
template <typename T>
HWY_INLINE void StorePartial(const Block& block, size_t count, T* to) {
  HWY_ALIGN T lanes[kBlock];
  for (size_t p = 0; p < kParts; ++p) StoreVector(block.parts[p], lanes + p * kLanes);
  std::memcpy(to, lanes, count * sizeof(T));
}

/// At index j: the bits of 2^(j / 8) kExpFactor, minus the exponent field of 1, and minus j at the
/// bits to which PowerOfSteps shifts the low bits of n.
alignas(64) constexpr int32_t kStepBits[kBlock] = {
    0x0B3A3E, 0x07D424, 0x059202, 0x048E45, 0x04E5BE, 0x06B7DA, 0x0A26DE, 0x0F5829,
    0x0B3A3E, 0x07D424, 0x059202, 0x048E45, 0x04E5BE, 0x06B7DA, 0x0A26DE, 0x0F5829};

/// 2^(n / 8) kExpFactor, for n + 8 x 127 in the low bits of `shifted`.
HWY_INLINE V PowerOfSteps(V shifted) {
  const DI di;
  const auto bits = hn::BitCast(di, shifted);
#if HWY_TARGET == HWY_AVX2
  const decltype(bits) mantissa{_mm256_permutevar8x32_epi32(hn::Load(di, kStepBits).raw, bits.raw)};
#elif HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  const decltype(bits) mantissa{_mm512_permutexvar_epi32(bits.raw, hn::Load(di, kStepBits).raw)};
#elif HWY_ARCH_ARM_A64 && HWY_NATIVE_FMA
  static_assert(kLanes == 4);  // NEON; later releases of Highway have several NEON targets.
  const hn::Repartition<uint8_t, DI> d8;
  const auto step = hn::And(bits, hn::Set(di, 7));
  const auto at =
      hn::BitCast(d8, hn::Add(hn::Mul(step, hn::Set(di, 0x04040404)), hn::Set(di, 0x03020100)));
  const uint8x16x2_t table = {{hn::BitCast(d8, hn::Load(di, kStepBits)).raw,
                               hn::BitCast(d8, hn::Load(di, kStepBits + 4)).raw}};
  const auto mantissa = hn::BitCast(di, decltype(at){vqtbl2q_u8(table, at.raw)});
#else
  HWY_ALIGN int32_t lanes[kLanes];
  hn::Store(hn::And(bits, hn::Set(di, 7)), di, lanes);
  for (int32_t& lane : lanes) lane = kStepBits[lane];
  const auto mantissa = hn::Load(di, lanes);
#endif
  return hn::BitCast(D(), hn::Add(hn::ShiftLeft<20>(bits), mantissa));
}

/// x, but not below `floor`. NaN stays NaN, which Highway's Max promises on no machine.
HWY_INLINE V ClampBelow(V x, V floor) {
#if HWY_ARCH_X86 && !LOSSD_NO_FMA
  // The instruction returns its second operand if either is NaN.
  return hn::Max(floor, x);
#else
  return hn::IfThenElse(hn::Lt(x, floor), floor, x);
#endif
}

/// exp(x) 2^(61 - k_ref) kExpFactor for x from reference - 128 to reference + 43. A lower x counts
/// as reference - 128, which no result can tell from 0. NaN gives NaN.
class ScaledExp {
 public:
  /// `exponent` is k_ref, the integer nearest to reference / ln 2 or next to it.
  ScaledExp(float reference, int32_t exponent)
      : floor_(hn::Set(D(), reference - kDepth)),
        magic_(hn::Set(D(), kMagic + static_cast<float>(8 * (kBiasedScale - exponent)))) {}
  /// Each lane has its own reference; the exponents are as from NearestExponent.
  ScaledExp(V reference, V exponent)
      : floor_(hn::Sub(reference, hn::Set(D(), kDepth))),
        magic_(hn::Sub(hn::Set(D(), kMagic + static_cast<float>(8 * kBiasedScale)),
                       hn::Mul(exponent, hn::Set(D(), 8.0F)))) {}
  HWY_INLINE ScaledExp() {}  // NOLINT(modernize-use-equals-default): as Block's.

  /// The integer nearest to x / ln 2. REQUIRES: |x| below 2^21.
  static HWY_INLINE V NearestExponent(V x) {
    const V magic = hn::Set(D(), kMagic);
    return hn::Sub(FusedMulAdd(x, hn::Set(D(), kLog2E), magic), magic);
  }

  // Takes each step for several vectors together. One by one, their chains of dependent operations
  // fill the processor's schedulers, which took 1.3 times as long on Zen 3.
  template <size_t kCount>
  HWY_INLINE void Apply(V (&x)[kCount]) const {
    V power[kCount];
    Split(x, power);
    for (size_t i = 0; i < kCount; ++i) x[i] = FusedMulAdd(x[i], power[i], power[i]);
  }

  /// As Apply, but with the result in two parts: it is power (1 + x), with |x| below 0.0443.
  /// Neither part is rounded to the precision of the other.
  template <size_t kCount>
  HWY_INLINE void Split(V (&x)[kCount], V (&power)[kCount]) const {
    for (size_t i = 0; i < kCount; ++i) Reduce(&x[i], &power[i]);
    FinishAll(x);
  }

  /// As Apply, with a reference for each part: x[i] uses that of part i % kParts.
  template <size_t kCount>
  static HWY_INLINE void ApplyParts(const ScaledExp (&parts)[kParts], V (&x)[kCount]) {
    V power[kCount];
    for (size_t i = 0; i < kCount; ++i) parts[i % kParts].Reduce(&x[i], &power[i]);
    FinishAll(x);
    for (size_t i = 0; i < kCount; ++i) x[i] = FusedMulAdd(x[i], power[i], power[i]);
  }

  /// As Apply, times `factor`: one rounding more, also if the result is subnormal.
  template <size_t kCount>
  HWY_INLINE void ApplyTimes(V factor, V (&x)[kCount]) const {
    V power[kCount];
    Split(x, power);
    for (size_t i = 0; i < kCount; ++i) power[i] = hn::Mul(power[i], factor);
    for (size_t i = 0; i < kCount; ++i) x[i] = FusedMulAdd(x[i], power[i], power[i]);
  }

 private:
  /// The exponent field of 2^61.
  static constexpr int32_t kBiasedScale = kScaleExponent + 127;

  /// Turns x into r; sets `power` to 2^(n / 8 - k_ref + 61) kExpFactor.
  HWY_INLINE void Reduce(V* x, V* power) const {
    const D d;
    const V clamped = ClampBelow(*x, floor_);
    const V shifted = FusedMulAdd(clamped, hn::Set(d, kStepsPerLn2), magic_);
    const V n = hn::Sub(shifted, magic_);
    *x = FusedMulAdd(n, hn::Set(d, -kStepLow), FusedMulAdd(n, hn::Set(d, -kStepHigh), clamped));
    *power = PowerOfSteps(shifted);
  }

  template <size_t kCount>
  static HWY_INLINE void FinishAll(V (&x)[kCount]) {
    constexpr size_t kTogether = kCount % 2 == 0 ? 2 : 1;
    for (size_t i = 0; i < kCount; i += kTogether) Finish<kTogether>(&x[i]);
  }

  /// Turns r into exp(r) - 1 for |r| <= 0.0434: a polynomial of degree 3, minimax with coefficients
  /// in float32 and a factor of its own (see kExpFactor). Its relative error is 0.317 2^-24.
  template <size_t kCount>
  HWY_INLINE static void Finish(V* x) {
    const D d;
    V square[kCount];
    V curve[kCount];
    for (size_t i = 0; i < kCount; ++i) square[i] = hn::Mul(x[i], x[i]);
    for (size_t i = 0; i < kCount; ++i) {
      curve[i] = FusedMulAdd(x[i], hn::Set(d, 0x1.555e10p-3F), hn::Set(d, 0x1.000a46p-1F));
    }
    for (size_t i = 0; i < kCount; ++i) x[i] = FusedMulAdd(curve[i], square[i], x[i]);
  }

  V floor_;
  V magic_;
};

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_SIMD_FLOAT_VEC_INL_H_
