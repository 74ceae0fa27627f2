// Compares exact sums with rational arithmetic, in any order and any split.
#include "core/sums/exact_sum.h"

#include <gmp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace lossd {
namespace {

template <typename F>
std::vector<F> RandomValues(size_t count, std::mt19937_64* random) {
  std::vector<F> values(count);
  const int low = std::numeric_limits<F>::min_exponent - std::numeric_limits<F>::digits;
  std::uniform_int_distribution<int> exponent(low, std::numeric_limits<F>::max_exponent - 2);
  std::uniform_real_distribution<double> mantissa(-2, 2);
  const bool narrow = (*random)() % 2 == 0;
  for (F& value : values) {
    const int e = narrow ? static_cast<int>((*random)() % 20) : exponent(*random);
    value = static_cast<F>(std::ldexp(mantissa(*random), e));
  }
  return values;
}

/// The sum as a rational number.
template <typename F>
class RationalSum {
 public:
  explicit RationalSum(const std::vector<F>& values) {
    mpq_init(sum_);
    mpq_t term;
    mpq_init(term);
    for (const F value : values) {
      mpq_set_d(term, static_cast<double>(value));
      mpq_add(sum_, sum_, term);
    }
    mpq_clear(term);
  }
  RationalSum(const RationalSum&) = delete;
  RationalSum& operator=(const RationalSum&) = delete;
  ~RationalSum() { mpq_clear(sum_); }

  /// Compares |candidate - sum| with |other - sum|: negative, 0 or positive.
  int Closer(double candidate, double other) const {
    mpq_t a;
    mpq_t b;
    mpq_init(a);
    mpq_init(b);
    mpq_set_d(a, candidate);
    mpq_set_d(b, other);
    mpq_sub(a, a, sum_);
    mpq_sub(b, b, sum_);
    mpq_abs(a, a);
    mpq_abs(b, b);
    const int result = mpq_cmp(a, b);
    mpq_clear(a);
    mpq_clear(b);
    return result;
  }

 private:
  mpq_t sum_;
};

template <typename F>
class ExactSumTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ExactSumTest, Types);

TYPED_TEST(ExactSumTest, IsTheNearestNumberToTheRationalSum) {
  using F = TypeParam;
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    const std::vector<F> values = RandomValues<F>(1 + random() % 60, &random);
    const RationalSum<F> rational(values);
    ExactSum<F> sum;
    for (const F value : values) sum.Add(value);
    const double nearest = sum.ToDouble();
    EXPECT_LE(rational.Closer(nearest, std::nextafter(nearest, HUGE_VAL)), 0) << round;
    EXPECT_LE(rational.Closer(nearest, std::nextafter(nearest, -HUGE_VAL)), 0) << round;
    const F narrow = sum.ToNearest();
    if (!std::isfinite(narrow)) continue;
    const F above = std::nextafter(narrow, std::numeric_limits<F>::max());
    const F below = std::nextafter(narrow, std::numeric_limits<F>::lowest());
    EXPECT_LE(rational.Closer(narrow, above), 0) << round;
    EXPECT_LE(rational.Closer(narrow, below), 0) << round;
  }
}

TYPED_TEST(ExactSumTest, OrderAndSplitDoNotMatter) {
  using F = TypeParam;
  std::mt19937_64 random(2);
  for (int round = 0; round < 100; ++round) {
    std::vector<F> values = RandomValues<F>(200, &random);
    ExactSum<F> forward;
    for (const F value : values) forward.Add(value);
    std::shuffle(values.begin(), values.end(), random);
    std::vector<ExactSum<F>> parts(1 + random() % 7);
    for (const F value : values) parts[random() % parts.size()].Add(value);
    ExactSum<F> merged;
    for (const auto& part : parts) merged.Merge(part);
    EXPECT_TRUE(merged == forward);
    EXPECT_EQ(merged.ToValue(), forward.ToValue());
  }
}

TYPED_TEST(ExactSumTest, TiesGoToEven) {
  using F = TypeParam;
  constexpr int kDigits = std::numeric_limits<F>::digits;
  const F one_unit = static_cast<F>(std::ldexp(1.0, -kDigits));  // Half an ulp of 1.
  ExactSum<F> tie;
  tie.Add(F{1});
  tie.Add(one_unit);
  EXPECT_EQ(tie.ToNearest(), F{1});
  tie.Add(static_cast<F>(one_unit * one_unit));
  EXPECT_EQ(tie.ToNearest(), F{1} + 2 * one_unit);
  ExactSum<F> odd;
  odd.Add(F{1} + 2 * one_unit);
  odd.Add(one_unit);
  EXPECT_EQ(odd.ToNearest(), F{1} + 4 * one_unit);
}

TYPED_TEST(ExactSumTest, CancelsToPlusZero) {
  using F = TypeParam;
  ExactSum<F> sum;
  sum.Add(F{-0.0});
  EXPECT_FALSE(std::signbit(sum.ToDouble()));
  sum.Add(std::numeric_limits<F>::max());
  sum.Add(std::numeric_limits<F>::denorm_min());
  sum.Add(-std::numeric_limits<F>::max());
  EXPECT_EQ(sum.ToNearest(), std::numeric_limits<F>::denorm_min());
  sum.Add(-std::numeric_limits<F>::denorm_min());
  EXPECT_EQ(sum.ToDouble(), 0.0);
  EXPECT_FALSE(std::signbit(sum.ToDouble()));
  EXPECT_EQ(sum.ToValue(), ExactSumValue());
}

TYPED_TEST(ExactSumTest, NotFinite) {
  using F = TypeParam;
  constexpr F kInf = std::numeric_limits<F>::infinity();
  ExactSum<F> sum;
  sum.Add(F{1});
  sum.Add(kInf);
  EXPECT_EQ(sum.ToDouble(), HUGE_VAL);
  sum.Add(-kInf);
  EXPECT_TRUE(std::isnan(sum.ToDouble()));
  ExactSum<F> nan;
  nan.Add(std::numeric_limits<F>::quiet_NaN());
  EXPECT_TRUE(std::isnan(nan.ToNearest()));
  EXPECT_EQ(nan.ToValue().nan_count, 1U);
}

TYPED_TEST(ExactSumTest, BeyondTheGreatestNumberIsInfinite) {
  using F = TypeParam;
  ExactSum<F> sum;
  sum.AddTimes(std::numeric_limits<F>::max(), uint64_t{1} << 62U);
  EXPECT_EQ(sum.ToNearest(), std::numeric_limits<F>::infinity());
  sum.AddTimes(-std::numeric_limits<F>::max(), (uint64_t{1} << 62U) - 1);
  EXPECT_EQ(sum.ToNearest(), std::numeric_limits<F>::max());
}

TYPED_TEST(ExactSumTest, TravelsAsAMinimalInteger) {
  using F = TypeParam;
  std::mt19937_64 random(4);
  for (int round = 0; round < 200; ++round) {
    ExactSum<F> sum;
    for (const F value : RandomValues<F>(random() % 20, &random)) sum.Add(value);
    const ExactSumValue value = sum.ToValue();
    const auto back = ExactSum<F>::FromValue(value);
    ASSERT_TRUE(back.ok());
    EXPECT_TRUE(*back == sum);
    const std::string& bytes = value.units;
    if (bytes.size() > 1) {
      const bool sign = (bytes[bytes.size() - 2] & 0x80) != 0;
      EXPECT_NE(bytes.back(), sign ? '\xff' : '\0') << "not minimal";
    }
  }
  ExactSum<F> unit;
  unit.Add(std::numeric_limits<F>::denorm_min());
  EXPECT_EQ(unit.ToValue().units, std::string("\x01"));
  unit.AddTimes(std::numeric_limits<F>::denorm_min(), 127);
  EXPECT_EQ(unit.ToValue().units, std::string("\x80\x00", 2));
  unit.AddTimes(-std::numeric_limits<F>::denorm_min(), 129);
  EXPECT_EQ(unit.ToValue().units, std::string("\xff"));
  // Around the ends of a 64-bit word.
  for (const unsigned bits : {56U, 63U, 64U, 120U, 128U}) {
    ExactSum<F> power;
    power.AddUnits(static_cast<__int128>(1), static_cast<int>(bits));
    std::string bytes(bits / 8, '\0');
    bytes += static_cast<char>(1U << (bits % 8));
    const std::string zero(bits % 8 == 7 ? 1 : 0, '\0');
    EXPECT_EQ(power.ToValue().units, bytes + zero) << "2^" << bits;
    power.AddUnits(-1, 0);
    power.AddUnits(-1, static_cast<int>(bits) + 1);  // -2^bits - 1
    bytes = std::string(bits / 8, '\xff');
    bytes += static_cast<char>(~(1U << (bits % 8)));
    EXPECT_EQ(power.ToValue().units, bytes + std::string(zero.size(), '\xff')) << "-2^" << bits;
    power.AddUnits(1, 0);  // -2^bits
    bytes = std::string(bits / 8, '\0');
    if (bits % 8 == 7) bytes += '\x80';
    if (bits % 8 != 7) bytes += static_cast<char>(0U - (1U << (bits % 8)));
    EXPECT_EQ(power.ToValue().units, bytes) << "-2^" << bits;
  }
}

TYPED_TEST(ExactSumTest, RefusesWhatNoSumCanBe) {
  using F = TypeParam;
  EXPECT_FALSE(ExactSum<F>::FromValue({std::string(400, '\x01')}).ok());
  // The largest value that the bytes can hold overflows when it is doubled.
  const size_t width = sizeof(ExactSum<F>) - 3 * sizeof(uint64_t);
  auto big = ExactSum<F>::FromValue({std::string(width, '\x7f')});
  ASSERT_TRUE(big.ok());
  const ExactSum<F> copy = *big;
  EXPECT_FALSE(big->MergeWithoutOverflow(copy));
}

// Adds to a limb of all ones that also gets a carry: 2^87 - 1 = (2^29 - 1)(2^58 + 2^29 + 1), placed
// at bit 45, is added to a sum whose bit 63 is set.
TEST(ExactSum, CarriesThroughAFullLimb) {
  for (const double sign : {1.0, -1.0}) {
    ExactSum<double> sum;
    sum.Add(sign * std::ldexp(1.0, 63 - 1074));
    const double factor = sign * std::ldexp(std::ldexp(1.0, 29) - 1, 45 - 1074);
    sum.AddTimes(factor, (uint64_t{1} << 58U) + (uint64_t{1} << 29U) + 1);
    // 2^132 - 2^45 + 2^63
    ExactSum<double> expected;
    expected.Add(sign * std::ldexp(1.0, 132 - 1074));
    expected.Add(-sign * std::ldexp(1.0, 45 - 1074));
    expected.Add(sign * std::ldexp(1.0, 63 - 1074));
    EXPECT_TRUE(sum == expected);
  }
}

/// Adds values of every kind: random bits, which have all magnitudes and include NaN and
/// infinities, and values of the window's magnitudes.
template <typename F>
void CheckWindow() {
  using Bits = std::conditional_t<sizeof(F) == 4, uint32_t, uint64_t>;
  std::mt19937_64 random(5);
  for (int round = 0; round < 200; ++round) {
    ExactSum<F> plain;
    ExactSum<F> windowed;
    {
      WindowedSum<F> window(&windowed);
      for (int i = 0; i < 300; ++i) {
        F value = std::bit_cast<F>(static_cast<Bits>(random()));
        if (i % 3 != 0) {
          value = static_cast<F>(std::ldexp(static_cast<double>(random()) - 0x1p63,
                                            static_cast<int>(random() % 48) - 90));
        }
        if (round % 2 == 0 && !std::isfinite(value)) value = 0;
        plain.Add(value);
        window.Add(value);
      }
    }
    ASSERT_EQ(plain, windowed) << round;
  }
}

TEST(WindowedSum, AddsWhatExactSumAdds) {
  CheckWindow<float>();
  CheckWindow<double>();
}

}  // namespace
}  // namespace lossd
