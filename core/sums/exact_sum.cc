#include "core/sums/exact_sum.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/sums/scaled.h"

namespace lossd {
namespace {

// The limbs' bytes are the serialized form, which is little-endian.
static_assert(std::endian::native == std::endian::little);

/// A finite value as (-1)^negative x mantissa x 2^shift units.
struct Parts {
  uint64_t mantissa;
  int shift;
  bool negative;
};

Parts Split(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t exponent = (bits >> 23U) & 0xFFU;
  const uint64_t fraction = bits & 0x7FFFFFU;
  if (exponent == 0) return {fraction, 0, (bits >> 31U) != 0};
  return {fraction | (uint64_t{1} << 23U), static_cast<int>(exponent) - 1, (bits >> 31U) != 0};
}

Parts Split(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  const auto exponent = static_cast<uint32_t>(bits >> 52U) & 0x7FFU;
  const uint64_t fraction = bits & 0xFFFFFFFFFFFFFU;
  if (exponent == 0) return {fraction, 0, (bits >> 63U) != 0};
  return {fraction | (uint64_t{1} << 52U), static_cast<int>(exponent) - 1, (bits >> 63U) != 0};
}

template <size_t kSize>
void Negate(std::array<uint64_t, kSize>* limbs) {
  uint64_t carry = 1;
  for (uint64_t& limb : *limbs) {
    limb = ~limb + carry;
    carry = carry != 0 && limb == 0 ? 1 : 0;
  }
}

/// The number of bits without leading zeros.
template <size_t kSize>
int BitWidth(const std::array<uint64_t, kSize>& limbs) {
  size_t size = kSize;
  while (size > 0 && limbs[size - 1] == 0) --size;
  if (size == 0) return 0;
  return static_cast<int>(64 * (size - 1)) + static_cast<int>(std::bit_width(limbs[size - 1]));
}

/// The 64 bits that begin at bit `position`.
template <size_t kSize>
uint64_t BitsFrom(const std::array<uint64_t, kSize>& limbs, int position) {
  const auto limb = static_cast<size_t>(position / 64);
  const auto bit = static_cast<unsigned>(position % 64);
  const uint64_t above = limb + 1 < kSize && bit != 0 ? limbs[limb + 1] << (64U - bit) : 0;
  return (limbs[limb] >> bit) | above;
}

template <size_t kSize>
bool AnyBitBelow(const std::array<uint64_t, kSize>& limbs, int position) {
  const auto limb = static_cast<size_t>(position / 64);
  for (size_t i = 0; i < limb; ++i) {
    if (limbs[i] != 0) return true;
  }
  return (limbs[limb] & ((uint64_t{1} << static_cast<unsigned>(position % 64)) - 1)) != 0;
}

}  // namespace

template <typename F>
void ExactSum<F>::AddShifted(unsigned __int128 magnitude, int shift, bool negative) {
  auto limb = static_cast<size_t>(shift / 64);
  const auto bit = static_cast<unsigned>(shift % 64);
  // The shifted magnitude has up to 128 + 63 bits: three limbs.
  const std::array<uint64_t, 3> pieces = {
      static_cast<uint64_t>(magnitude << bit), static_cast<uint64_t>((magnitude << bit) >> 64U),
      bit == 0 ? 0 : static_cast<uint64_t>(magnitude >> (128U - bit))};
  uint64_t carry = 0;
  for (size_t i = 0; limb < kLimbs; ++i, ++limb) {
    const uint64_t piece = i < pieces.size() ? pieces[i] : 0;
    if (i >= pieces.size() && carry == 0) break;
    uint64_t& at = limbs_[limb];
    const uint64_t before = at;
    if (negative) {
      at = before - piece - carry;
      carry = before < piece || (before == piece && carry != 0) ? 1 : 0;
    } else {
      at = before + piece + carry;
      carry = at < before || (at == before && carry != 0) ? 1 : 0;
    }
  }
}

template <typename F>
void ExactSum<F>::AddTimes(F value, uint64_t times) {
  if (std::isnan(value)) {
    nan_count_ += times;
  } else if (std::isinf(value)) {
    (value > 0 ? positive_infinity_count_ : negative_infinity_count_) += times;
  } else {
    const Parts parts = Split(value);
    AddShifted(static_cast<unsigned __int128>(parts.mantissa) * times, parts.shift, parts.negative);
  }
}

template <typename F>
void ExactSum<F>::Merge(const ExactSum& other) {
  uint64_t carry = 0;
  for (size_t i = 0; i < kLimbs; ++i) {
    const uint64_t before = limbs_[i];
    limbs_[i] = before + other.limbs_[i] + carry;
    carry = limbs_[i] < before || (limbs_[i] == before && carry != 0) ? 1 : 0;
  }
  nan_count_ += other.nan_count_;
  positive_infinity_count_ += other.positive_infinity_count_;
  negative_infinity_count_ += other.negative_infinity_count_;
}

template <typename F>
bool ExactSum<F>::MergeWithoutOverflow(const ExactSum& other) {
  const ExactSum before = *this;
  Merge(other);
  const bool same_sign = before.Negative() == other.Negative();
  return !(same_sign && Negative() != before.Negative()) && nan_count_ >= before.nan_count_ &&
         positive_infinity_count_ >= before.positive_infinity_count_ &&
         negative_infinity_count_ >= before.negative_infinity_count_;
}

template <typename F>
Scaled ExactSum<F>::Round(int precision) const {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (nan_count_ != 0 || (positive_infinity_count_ != 0 && negative_infinity_count_ != 0)) {
    return Scaled::Of(std::numeric_limits<double>::quiet_NaN());
  }
  if (positive_infinity_count_ != 0) return Scaled::Of(kInfinity);
  if (negative_infinity_count_ != 0) return Scaled::Of(-kInfinity);
  auto limbs = limbs_;
  const bool negative = Negative();
  if (negative) Negate(&limbs);
  const int length = BitWidth(limbs);
  if (length == 0) return {};
  // The `precision` leading bits begin at bit `low`. A number with fewer bits is exact.
  const int low = length > precision ? length - precision : 0;
  uint64_t mantissa = BitsFrom(limbs, low);
  if (low > 0 && (BitsFrom(limbs, low - 1) & 1U) != 0 &&
      ((mantissa & 1U) != 0 || AnyBitBelow(limbs, low - 1))) {
    ++mantissa;
  }
  // The mantissa has at most `precision` bits or is a power of two, so the conversion to double is
  // exact.
  const Scaled magnitude = Scaled::Of(static_cast<double>(mantissa), low + kUnitExponent);
  return negative ? -magnitude : magnitude;
}

template <typename F>
F ExactSum<F>::ToNearest() const {
  // For float, rounding to 24 bits is the only rounding. Sums are multiples of 2^-149, so a result
  // below the normal range is exact, and a result beyond the largest float becomes infinite in the
  // cast.
  return static_cast<F>(Round(std::is_same_v<F, float> ? 24 : 53).ToDouble());
}

template <typename F>
absl::Span<const std::byte> ExactSum<F>::units() const {
  // Drops the limbs that only repeat the sign. A negative number is as wide as its complement.
  const uint64_t sign = Negative() ? ~uint64_t{0} : 0;
  size_t size = kLimbs;
  while (size > 0 && limbs_[size - 1] == sign) --size;
  if (size == 0 && sign == 0) return {};
  size_t bytes = 1;  // One bit more, for the sign, rounded up to whole bytes.
  if (size > 0) {
    const auto width = static_cast<size_t>(std::bit_width(limbs_[size - 1] ^ sign));
    bytes += 8 * (size - 1) + width / 8;
  }
  return {reinterpret_cast<const std::byte*>(limbs_.data()), bytes};  // NOLINT(*-cast)
}

template <typename F>
ExactSumValue ExactSum<F>::ToValue() const {
  const absl::Span<const std::byte> bytes = units();
  return {{reinterpret_cast<const char*>(bytes.data()), bytes.size()},  // NOLINT(*-cast)
          nan_count_,
          positive_infinity_count_,
          negative_infinity_count_};
}

template <typename F>
absl::StatusOr<ExactSum<F>> ExactSum<F>::FromValue(const ExactSumValue& value) {
  if (value.units.size() > sizeof(limbs_)) {
    return absl::InvalidArgumentError("the exact sum is wider than its type allows");
  }
  ExactSum sum;
  const bool negative = !value.units.empty() && (value.units.back() & 0x80) != 0;
  if (negative) sum.limbs_.fill(~uint64_t{0});
  std::memcpy(sum.limbs_.data(), value.units.data(), value.units.size());
  sum.nan_count_ = value.nan_count;
  sum.positive_infinity_count_ = value.positive_infinity_count;
  sum.negative_infinity_count_ = value.negative_infinity_count;
  return sum;
}

template class ExactSum<float>;
template class ExactSum<double>;

}  // namespace lossd
