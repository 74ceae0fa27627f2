// Arithmetic on unevaluated sums of two float32, for the few numbers of a position that need more
// than 24 bits. It takes half the operations of double arithmetic. Compiled once for each
// instruction set.

#if defined(LOSSD_CORE_SIMD_FLOAT_PAIR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_SIMD_FLOAT_PAIR_INL_H_
#undef LOSSD_CORE_SIMD_FLOAT_PAIR_INL_H_
#else
#define LOSSD_CORE_SIMD_FLOAT_PAIR_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "core/simd/float_vec-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// high + low, where |low| is at most a few ulps of `high`.
struct Pair {
  // Explicit, as in Block: on AArch64, GCC does not compile the implicit ones for the target.
  HWY_INLINE Pair() {}  // NOLINT(modernize-use-equals-default)
  HWY_INLINE Pair(V high_part, V low_part) : high(high_part), low(low_part) {}
  V high;
  V low;
};

/// a + b, and the error of rounding it (Knuth's TwoSum).
HWY_INLINE Pair TwoSum(V a, V b) {
  const V sum = hn::Add(a, b);
  const V b_part = hn::Sub(sum, a);
  return {sum, hn::Add(hn::Sub(a, hn::Sub(sum, b_part)), hn::Sub(b, b_part))};
}

/// The same. REQUIRES: |large| >= |small| (Dekker's FastTwoSum).
HWY_INLINE Pair FastTwoSum(V large, V small) {
  const V sum = hn::Add(large, small);
  return {sum, hn::Sub(small, hn::Sub(sum, large))};
}

/// The same. REQUIRES: a, b >= 0.
HWY_INLINE Pair SumOfPositive(V a, V b) { return FastTwoSum(hn::Max(a, b), hn::Min(a, b)); }

/// a b, to within some 2^-47.
HWY_INLINE Pair Product(V a, const Pair& b) {
  const V high = hn::Mul(a, b.high);
  return {high, FusedMulAdd(a, b.low, FusedMulAdd(a, b.high, hn::Neg(high)))};
}
HWY_INLINE Pair Product(const Pair& a, const Pair& b) {
  Pair product = Product(a.high, b);
  product.low = FusedMulAdd(a.low, b.high, product.low);
  return product;
}

/// a / b, almost correctly rounded: within 0.51 ulp. `inverse` is 1 / b.high.
HWY_INLINE V Quotient(const Pair& a, const Pair& b, V inverse) {
  const V near = hn::Mul(a.high, inverse);
  const V minus = hn::Neg(near);
  const V rest = FusedMulAdd(minus, b.low, hn::Add(FusedMulAdd(minus, b.high, a.high), a.low));
  return FusedMulAdd(rest, inverse, near);
}

// ln 2 in two parts: the first has 13 bits, so that its multiples up to 2^11 are exact; the second
// is the rest.
constexpr float kLn2High = 0.693115234375F;
constexpr float kLn2Low = 3.19461849e-05F;

/// (e^r - 1 - r) / r^2 for |r| <= 0.3467: a polynomial of degree 4, a minimax fit to the relative
/// error of e^r, which is 2^-28.0 with coefficients in float32.
HWY_INLINE V ExpCurve(V r) {
  const D d;
  const V square = hn::Mul(r, r);
  const V low = FusedMulAdd(r, hn::Set(d, 0x1.555492p-3F), hn::Set(d, 0x1.fffffcp-2F));
  const V high = FusedMulAdd(r, hn::Set(d, 0x1.123a0ap-7F), hn::Set(d, 0x1.5558f2p-5F));
  const V curve = FusedMulAdd(square, hn::Set(d, 0x1.6a23f0p-10F), high);
  return FusedMulAdd(curve, square, low);
}

/// e^-r / kExpFactor within 2^-26, where max = k ln 2 + r and k is as from NearestExponent.
HWY_INLINE Pair InverseMantissa(V max, V k) {
  const D d;
  const V one = hn::Set(d, 1.0F);
  // The first product and difference are exact.
  const V high = hn::Neg(FusedMulAdd(k, hn::Set(d, -kLn2High), max));
  const V low = hn::Mul(k, hn::Set(d, kLn2Low));
  const V r = hn::Add(high, low);
  const V rest = FusedMulAdd(ExpCurve(r), hn::Mul(r, r), low);
  const Pair sum = FastTwoSum(high, rest);
  const Pair result = FastTwoSum(one, sum.high);
  constexpr double kInverse = 1.0 / kExpFactor;
  constexpr auto kInverseHigh = static_cast<float>(kInverse);
  constexpr auto kInverseLow = static_cast<float>(kInverse - static_cast<double>(kInverseHigh));
  return Product({result.high, hn::Add(result.low, sum.low)},
                 {hn::Set(d, kInverseHigh), hn::Set(d, kInverseLow)});
}

/// (log(1 + x) - x) / x^2 for 1 + x from sqrt(1/2) to sqrt(2): a polynomial of degree 9, whose
/// error is below 2^-30 of the logarithm.
HWY_INLINE V LogCurve(V x) {
  const D d;
  const V x2 = hn::Mul(x, x);
  const V x4 = hn::Mul(x2, x2);
  const V c01 = FusedMulAdd(x, hn::Set(d, 0x1.555548p-2F), hn::Set(d, -0.5F));
  const V c23 = FusedMulAdd(x, hn::Set(d, 0x1.99a474p-3F), hn::Set(d, -0x1.000006p-2F));
  const V c45 = FusedMulAdd(x, hn::Set(d, 0x1.233be8p-3F), hn::Set(d, -0x1.555c4ep-3F));
  const V c67 = FusedMulAdd(x, hn::Set(d, 0x1.e6b95ap-4F), hn::Set(d, -0x1.fc2710p-4F));
  const V c89 = FusedMulAdd(x, hn::Set(d, 0x1.148fa4p-4F), hn::Set(d, -0x1.de0b48p-4F));
  const V low = FusedMulAdd(c23, x2, c01);
  const V middle = FusedMulAdd(c67, x2, c45);
  return FusedMulAdd(FusedMulAdd(c89, x4, middle), x4, low);
}

/// log(1 + x) for x >= 0, with a relative error within 2^-25.5; stores 1 + x in *one_plus.
///
/// 1 + x = 2^k (1 + f). If k = 0, the logarithm is taken of x itself, so that a small x loses no
/// bits.
HWY_INLINE Pair LogOnePlus(const Pair& x, Pair* one_plus) {
  const D d;
  const DI di;
  const V one = hn::Set(d, 1.0F);
  const Pair sum = SumOfPositive(x.high, one);
  *one_plus = {sum.high, hn::Add(sum.low, x.low)};
  constexpr int32_t kSqrtHalf = 0x3F3504F3;
  const auto base = hn::Set(di, kSqrtHalf);
  const auto bits = hn::Sub(hn::BitCast(di, sum.high), base);
  const auto exponent = hn::ShiftRight<23>(bits);
  const V reduced = hn::BitCast(d, hn::Add(hn::And(bits, hn::Set(di, 0x7FFFFF)), base));
  const V scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::Sub(hn::Set(di, 127), exponent)));
  const V k = hn::ConvertTo(d, exponent);
  const auto near = hn::Eq(k, hn::Zero(d));
  const V f = hn::IfThenElse(near, x.high, hn::Sub(reduced, one));
  const V f_low = hn::IfThenElse(near, x.low, hn::Mul(one_plus->low, scale));
  const Pair result = FastTwoSum(hn::Mul(k, hn::Set(d, kLn2High)), f);
  // 1 - f approximates 1 / (1 + f), the derivative of the logarithm.
  const V slope = FusedMulAdd(hn::Neg(f_low), f, f_low);
  const V rest = FusedMulAdd(k, hn::Set(d, kLn2Low), hn::Add(result.low, slope));
  return {result.high, FusedMulAdd(LogCurve(f), hn::Mul(f, f), rest)};
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_SIMD_FLOAT_PAIR_INL_H_
