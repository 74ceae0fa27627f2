// float16 and bfloat16: exact widening, and narrowing from double with a single rounding.
#ifndef LOSSD_CORE_PROBLEM_HALF_H_
#define LOSSD_CORE_PROBLEM_HALF_H_

#include <bit>
#include <cmath>
#include <cstdint>

namespace lossd {

/// IEEE 754 binary16, as bits.
struct Float16 {
  uint16_t bits;
};

/// The upper half of a binary32, as bits.
struct BFloat16 {
  uint16_t bits;
};

inline constexpr uint32_t kCanonicalNaN32 = 0x7FC00000U;

/// Widens exactly; a NaN keeps its payload in the upper bits.
inline float ToFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16U);
}

/// Widens exactly, subnormals included.
inline float ToFloat(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000U) << 16U;
  const uint32_t exponent = (value.bits >> 10U) & 0x1FU;
  const uint32_t mantissa = value.bits & 0x3FFU;
  if (exponent == 0) {
    // mantissa x 2^-24 is exact in float32.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23U) | (mantissa << 13U));
}

/// Rounds to odd: toward zero, and sets the last bit if any bit was cut off. Rounding the result
/// again, to a type with at least two bits less, gives the same as rounding the original once.
inline float RoundToOdd(double value) {
  auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) == value || std::isnan(value)) return narrow;
  auto bits = std::bit_cast<uint32_t>(narrow);
  if (std::abs(static_cast<double>(narrow)) > std::abs(value)) --bits;
  return std::bit_cast<float>(bits | 1U);
}

/// Rounds to nearest even; NaN becomes the canonical NaN.
inline BFloat16 ToBFloat16(double value) {
  if (std::isnan(value)) return {0x7FC0U};
  const auto bits = std::bit_cast<uint32_t>(RoundToOdd(value));
  const uint32_t rounded = bits + 0x7FFFU + ((bits >> 16U) & 1U);
  if ((bits & 0x7F800000U) == 0x7F800000U) return {static_cast<uint16_t>(bits >> 16U)};
  return {static_cast<uint16_t>(rounded >> 16U)};
}

/// Rounds to nearest even, subnormals included. Magnitudes of 65520 or more become infinite; NaN
/// becomes the canonical NaN.
inline Float16 ToFloat16(double value) {
  if (std::isnan(value)) return {0x7E00U};
  const uint16_t sign = std::signbit(value) ? 0x8000U : 0U;
  const double magnitude = std::abs(value);
  if (magnitude >= 65520.0) return {static_cast<uint16_t>(sign | 0x7C00U)};
  // The result's ulp is 2^(exponent - 10). Adding and subtracting 2^52 ulps rounds to a multiple of
  // the ulp, to nearest even.
  int exponent = -14;
  if (magnitude >= 0x1p-14) exponent = std::ilogb(magnitude);
  const double big = std::ldexp(0x1p52, exponent - 10);
  const double rounded = (magnitude + big) - big;
  const auto units = static_cast<uint32_t>(std::ldexp(rounded, 10 - exponent));
  // For normal numbers, units is in [1024, 2048]; 2048 carries into the exponent by itself.
  const uint32_t base = magnitude >= 0x1p-14 ? static_cast<uint32_t>(exponent + 14) << 10U : 0U;
  return {static_cast<uint16_t>(sign | (base + units))};
}

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_HALF_H_
