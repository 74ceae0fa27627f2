// Exact sums of floating-point numbers: the same bits in any order and any split.
//
// A sum is one wide two's-complement integer in units of the type's smallest subnormal, as in
// Kulisch's long accumulator, so that adding is integer addition: exact, commutative, associative.
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

/// An exact sum in the form that travels.
struct ExactSumValue {
  /// Minimal little-endian two's-complement integer; empty for 0. The unit is 2^-149 for float32
  /// and 2^-1074 for float64.
  std::string units;
  /// How many NaN, +inf and -inf were added; they are not in `units`.
  uint64_t nan_count = 0;
  uint64_t positive_infinity_count = 0;
  uint64_t negative_infinity_count = 0;

  bool operator==(const ExactSumValue&) const = default;
};

/// Exact sum of up to 2^63 values of type F, float or double. Not safe for use from several threads
/// at once; sum in each and Merge.
template <typename F>
class ExactSum {
  static_assert(std::is_same_v<F, float> || std::is_same_v<F, double>);
  // From the unit to the greatest finite value, 63 bits of count, and a sign.
  static constexpr int kBits = std::is_same_v<F, float> ? 149 + 128 + 64 : 1074 + 1024 + 64;
  static constexpr int kLimbs = (kBits + 63) / 64;

 public:
  /// Exponent of the unit.
  static constexpr int kUnitExponent = std::is_same_v<F, float> ? -149 : -1074;
  /// Bytes of the widest sum's units.
  static constexpr size_t kMostUnitBytes = size_t{8} * kLimbs;

  void Add(F value) { AddTimes(value, 1); }
  /// Adds `value` `times` times over.
  void AddTimes(F value, uint64_t times);
  /// Adds all that `other` summed.
  void Merge(const ExactSum& other);

  /// Adds `units` times 2^shift units. REQUIRES: that it fits.
  void AddUnits(__int128 units, int shift) {
    const auto magnitude = static_cast<unsigned __int128>(units);
    AddShifted(units < 0 ? -magnitude : magnitude, shift, units < 0);
  }

  /// Nearest double, ties to even; NaN and infinities as IEEE addition would give; zero is +0.
  [[nodiscard]] double ToDouble() const { return Round(53).ToDouble(); }
  /// The same where a double's exponent would be too small for it.
  [[nodiscard]] Scaled ToScaled() const { return Round(53); }
  /// Nearest F, rounded once.
  [[nodiscard]] F ToNearest() const;

  [[nodiscard]] ExactSumValue ToValue() const;
  /// The parts of that value, without a copy.
  [[nodiscard]] absl::Span<const std::byte> units() const;
  [[nodiscard]] uint64_t nan_count() const { return nan_count_; }
  [[nodiscard]] uint64_t positive_infinity_count() const { return positive_infinity_count_; }
  [[nodiscard]] uint64_t negative_infinity_count() const { return negative_infinity_count_; }
  /// INVALID_ARGUMENT where the value is wider than a sum of 2^63 values of F can be.
  static absl::StatusOr<ExactSum> FromValue(const ExactSumValue& value);
  /// Merge, refusing sums that leave the range: for values from outside.
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

/// Adds to an ExactSum, quickly: values of a common range of magnitudes are kept in one 128-bit
/// integer until the end of its life, when the sum gets them.
template <typename F>
class WindowedSum {
 public:
  explicit WindowedSum(ExactSum<F>* sum) : sum_(*sum) {}
  WindowedSum(const WindowedSum&) = delete;
  WindowedSum& operator=(const WindowedSum&) = delete;
  ~WindowedSum() { sum_.AddUnits(near_, kFirst - 1); }

  /// Adds `units` times 2^exponent. REQUIRES: that it fits, and an exponent of the unit's at least.
  void AddUnits(__int128 units, int exponent) {
    sum_.AddUnits(units, exponent - ExactSum<F>::kUnitExponent);
  }

  void Add(F value) {
    const auto bits = std::bit_cast<Bits>(value);
    const auto exponent = static_cast<unsigned>((bits >> kMantissa) & kExponents);
    // Wraps for exponents below the window.
    if (exponent - kFirst >= kWindow) return sum_.Add(value);
    const Bits one = Bits{1} << kMantissa;
    const auto magnitude = static_cast<__int128>((bits & (one - 1)) | one) << (exponent - kFirst);
    near_ += (bits >> (8 * sizeof(F) - 1)) != 0 ? -magnitude : magnitude;
  }

 private:
  using Bits = std::conditional_t<std::is_same_v<F, float>, uint32_t, uint64_t>;
  static constexpr unsigned kMantissa = std::is_same_v<F, float> ? 23 : 52;
  static constexpr Bits kExponents = std::is_same_v<F, float> ? 0xFF : 0x7FF;
  // Values from 2^-24 to below 2^16; a magnitude takes at most 93 bits, which leaves room for 2^34
  // of them, more than any range of rows holds.
  static constexpr unsigned kFirst = (std::is_same_v<F, float> ? 127 : 1023) - 24;
  static constexpr unsigned kWindow = 40;

  ExactSum<F>& sum_;
  __int128 near_ = 0;
};

extern template class ExactSum<float>;
extern template class ExactSum<double>;

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_EXACT_SUM_H_
