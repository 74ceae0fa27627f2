// Exact sums of floating-point numbers: the same bits for any order and any split of the terms.
//
// A sum is one wide two's-complement integer in units of the type's smallest subnormal, as in
// Kulisch's long accumulator. Adding is integer addition, and therefore exact, commutative and
// associative.
#ifndef LOSSD_CORE_SUMS_EXACT_SUM_H_
#define LOSSD_CORE_SUMS_EXACT_SUM_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/sums/scaled.h"

namespace lossd {

/// The serialized form of an exact sum.
struct ExactSumValue {
  /// Minimal little-endian two's-complement integer; empty for 0. The unit is 2^-149 for float32
  /// and 2^-1074 for float64.
  std::string units;
  /// The number of NaN, +inf and -inf terms, which `units` leaves out.
  uint64_t nan_count = 0;
  uint64_t positive_infinity_count = 0;
  uint64_t negative_infinity_count = 0;

  bool operator==(const ExactSumValue&) const = default;
};

/// The exact sum of up to 2^63 values of type F, float or double. Not thread-safe: sum in each
/// thread, then Merge.
template <typename F>
class ExactSum {
  static_assert(std::is_same_v<F, float> || std::is_same_v<F, double>);
  // Bits from the unit to the largest finite value, 63 for the number of values, and a sign.
  static constexpr int kBits = std::is_same_v<F, float> ? 149 + 128 + 64 : 1074 + 1024 + 64;
  static constexpr int kLimbs = (kBits + 63) / 64;

 public:
  /// The unit is 2 to this power.
  static constexpr int kUnitExponent = std::is_same_v<F, float> ? -149 : -1074;
  /// The most bytes that units() can have.
  static constexpr size_t kMostUnitBytes = size_t{8} * kLimbs;

  void Add(F value) { AddTimes(value, 1); }
  /// Adds `value` `times` times.
  void AddTimes(F value, uint64_t times);
  /// Adds the terms of `other`.
  void Merge(const ExactSum& other);

  /// Adds `units` x 2^shift units. REQUIRES: the sum fits.
  void AddUnits(__int128 units, int shift) {
    const auto magnitude = static_cast<unsigned __int128>(units);
    AddShifted(units < 0 ? -magnitude : magnitude, shift, units < 0);
  }

  /// The nearest double, ties to even. NaN and infinities are as in IEEE addition; zero is +0.
  [[nodiscard]] double ToDouble() const { return Round(53).ToDouble(); }
  /// The same without the limits of double's exponent.
  [[nodiscard]] Scaled ToScaled() const { return Round(53); }
  /// The nearest F, rounded once.
  [[nodiscard]] F ToNearest() const;

  [[nodiscard]] ExactSumValue ToValue() const;
  /// The parts of ToValue(), without a copy.
  [[nodiscard]] absl::Span<const std::byte> units() const;
  [[nodiscard]] uint64_t nan_count() const { return nan_count_; }
  [[nodiscard]] uint64_t positive_infinity_count() const { return positive_infinity_count_; }
  [[nodiscard]] uint64_t negative_infinity_count() const { return negative_infinity_count_; }
  /// INVALID_ARGUMENT if `value` has more than kMostUnitBytes bytes of units.
  static absl::StatusOr<ExactSum> FromValue(const ExactSumValue& value);
  /// Merges values from outside. False if the sum leaves its range.
  [[nodiscard]] bool MergeWithoutOverflow(const ExactSum& other);

  bool operator==(const ExactSum&) const = default;

 private:
  void AddShifted(unsigned __int128 magnitude, int shift, bool negative);
  [[nodiscard]] bool Negative() const { return (limbs_[kLimbs - 1] >> 63U) != 0; }
  [[nodiscard]] Scaled Round(int precision) const;

  std::array<uint64_t, kLimbs> limbs_{};
  uint64_t nan_count_ = 0;
  uint64_t positive_infinity_count_ = 0;
  uint64_t negative_infinity_count_ = 0;
};

/// Adds to an ExactSum faster. Values of common magnitudes are summed in one 128-bit integer, which
/// the destructor adds to the ExactSum.
template <typename F>
class WindowedSum {
 public:
  explicit WindowedSum(ExactSum<F>* sum) : sum_(*sum) {}
  WindowedSum(const WindowedSum&) = delete;
  WindowedSum& operator=(const WindowedSum&) = delete;
  ~WindowedSum() { sum_.AddUnits(near_, kFirst - 1); }

  /// Adds `units` x 2^exponent. REQUIRES: the sum fits, and `exponent` is at least that of the
  /// unit.
  void AddUnits(__int128 units, int exponent) {
    sum_.AddUnits(units, exponent - ExactSum<F>::kUnitExponent);
  }

  void Add(F value) {
    const auto bits = std::bit_cast<Bits>(value);
    const auto exponent = static_cast<unsigned>((bits >> kMantissa) & kExponents);
    // The subtraction wraps around for exponents below the window.
    if (exponent - kFirst >= kWindow) return sum_.Add(value);
    const Bits one = Bits{1} << kMantissa;
    const auto magnitude = static_cast<__int128>((bits & (one - 1)) | one) << (exponent - kFirst);
    near_ += (bits >> (8 * sizeof(F) - 1)) != 0 ? -magnitude : magnitude;
  }

 private:
  using Bits = std::conditional_t<std::is_same_v<F, float>, uint32_t, uint64_t>;
  static constexpr unsigned kMantissa = std::is_same_v<F, float> ? 23 : 52;
  static constexpr Bits kExponents = std::is_same_v<F, float> ? 0xFF : 0x7FF;
  // The window holds values from 2^-24 to below 2^16. A magnitude takes at most 93 bits, which
  // leaves room for 2^34 values, more than any range of rows has.
  static constexpr unsigned kFirst = (std::is_same_v<F, float> ? 127 : 1023) - 24;
  static constexpr unsigned kWindow = 40;

  ExactSum<F>& sum_;
  __int128 near_ = 0;
};

extern template class ExactSum<float>;
extern template class ExactSum<double>;

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_EXACT_SUM_H_
