// Our own exp and log1p, in plain IEEE double operations and none fused, so that every machine
// computes the same bits.
#ifndef LOSSD_CORE_SIMD_MATH_H_
#define LOSSD_CORE_SIMD_MATH_H_

#include <bit>
#include <cstdint>

namespace lossd {

/// e^x 2^kScale for x <= 0, within 1 ulp; -inf gives 0. Results below the normal range are rounded
/// once more.
///
/// x = k ln 2 + r with |r| <= ln 2 / 2. e^r is taken by its Taylor series to degree 13 (remainder
/// under 2^-57). ln 2 is split so that k times its upper part is exact (Cody and Waite).
template <int kScale = 0>
[[gnu::always_inline]] inline double ExpNonPositive(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2Hi = 0x1.62e42fee00000p-1;  // 32 trailing zero bits.
  constexpr double kLn2Lo = 0x1.a39ef35793c76p-33;
  constexpr double kRound = 0x1.8p52;  // Adding it leaves the nearest integer in the low bits.
  constexpr double kUnderflow = -746.0 - 0.7 * kScale;
  const double clamped = x < kUnderflow ? kUnderflow : x;
  const double shifted = clamped * kLog2E + kRound;
  const double k = shifted - kRound;
  const double r = (clamped - k * kLn2Hi) - k * kLn2Lo;
  double q = 1.0 / 6227020800.0;
  q = q * r + 1.0 / 479001600.0;
  q = q * r + 1.0 / 39916800.0;
  q = q * r + 1.0 / 3628800.0;
  q = q * r + 1.0 / 362880.0;
  q = q * r + 1.0 / 40320.0;
  q = q * r + 1.0 / 5040.0;
  q = q * r + 1.0 / 720.0;
  q = q * r + 1.0 / 120.0;
  q = q * r + 1.0 / 24.0;
  q = q * r + 1.0 / 6.0;
  q = q * r + 0.5;
  const double mantissa = 1.0 + (r + r * r * q);
  // 2^k is two factors, each a normal number, so that only the second multiplication may round.
  // Compilers find vector instructions, also for AVX2, for all integer steps: k is read from the
  // low bits that the rounding constant leaves, and the shift is of a positive number.
  const uint64_t exponent =
      std::bit_cast<uint64_t>(shifted) - std::bit_cast<uint64_t>(kRound) + kScale + 4096;
  const uint64_t half = exponent >> 1U;
  const auto power = [](uint64_t n) { return std::bit_cast<double>((n + 1023 - 2048) << 52U); };
  return mantissa * power(half) * power(exponent - half);
}

/// e^x 2^-k, where k is the integer nearest to x / ln 2, or next to it.
[[gnu::always_inline]] inline double ExpMantissa(double x, double k) {
  constexpr double kLn2Hi = 0x1.62e42fee00000p-1;
  constexpr double kLn2Lo = 0x1.a39ef35793c76p-33;
  return ExpNonPositive((x - k * kLn2Hi) - k * kLn2Lo);
}

/// log(1 + x) for x >= 0, within 1 ulp.
///
/// 1 + x = 2^k f with f in [sqrt(1/2), sqrt(2)). With g = f - 1 and s = g / (2 + g), log f = 2
/// atanh(s), by the minimax polynomial of fdlibm's e_log.c and s_log1p.c (error under 2^-58). A
/// first-order term restores what rounding 1 + x lost.
[[gnu::always_inline]] inline double Log1pNonNegative(double x) {
  constexpr double kLn2Hi = 6.93147180369123816490e-01;
  constexpr double kLn2Lo = 1.90821492927058770002e-10;
  // No branches, so that compilers vectorize loops over many x.
  const double u = 1.0 + x;
  const bool far = x >= 0.41421356237309503;
  const double lost = (x >= 1.0 ? 1.0 - (u - x) : x - (u - 1.0)) / u;
  const auto bits = std::bit_cast<uint64_t>(u);
  const auto f = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFU) | (uint64_t{1023} << 52U));
  const bool upper = f >= 1.4142135623730951;
  // Converts the biased exponent to double: puts it into the low bits of 2^52.
  const double biased = std::bit_cast<double>((bits >> 52U) | (uint64_t{0x433} << 52U)) - 0x1p52;
  const double k = far ? biased - (upper ? 1022.0 : 1023.0) : 0.0;
  const double g = far ? (upper ? 0.5 * f : f) - 1.0 : x;
  const double half_square = 0.5 * g * g;
  const double s = g / (2.0 + g);
  const double z = s * s;
  double p = 1.479819860511658591e-01;
  p = p * z + 1.531383769920937332e-01;
  p = p * z + 1.818357216161805012e-01;
  p = p * z + 2.222219843214978396e-01;
  p = p * z + 2.857142874366239149e-01;
  p = p * z + 3.999999999940941908e-01;
  p = p * z + 6.666666666666735130e-01;
  p = p * z;
  const double low = k * kLn2Lo + (far ? lost : 0.0);
  const double result = k * kLn2Hi - ((half_square - (s * (half_square + p) + low)) - g);
  return x < 0x1p-54 ? x : result;
}

}  // namespace lossd

#endif  // LOSSD_CORE_SIMD_MATH_H_
