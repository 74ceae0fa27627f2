// Widening is exact and narrowing rounds once, for every half.
#include "core/problem/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "core/problem/load.h"

namespace lossd {
namespace {

template <typename Half>
Half Previous(Half half) {
  return {static_cast<uint16_t>(half.bits - 1)};
}

/// Checks every pair of neighbouring finite values of one sign. Their middle rounds to the even
/// one; the doubles next to the middle round to the nearer one.
template <typename Half>
void CheckNeighbours(uint16_t infinity) {
  for (uint16_t bits = 1; bits < infinity; ++bits) {
    const Half high{bits};
    const Half low = Previous(high);
    const double a = Widen(low);
    const double b = Widen(high);
    ASSERT_LT(a, b) << bits;
    EXPECT_EQ(Narrow<Half>(b).bits, bits);
    EXPECT_EQ(Narrow<Half>(-b).bits, bits | 0x8000U);
    const double middle = a + (b - a) / 2;
    EXPECT_EQ(Narrow<Half>(middle).bits, bits % 2 == 0 ? bits : low.bits) << bits;
    EXPECT_EQ(Narrow<Half>(std::nextafter(middle, 0.0)).bits, low.bits) << bits;
    EXPECT_EQ(Narrow<Half>(std::nextafter(middle, 1e300)).bits, bits) << bits;
  }
}

TEST(Half, Float16RoundsToNearestEven) { CheckNeighbours<Float16>(0x7C00); }
TEST(Half, BFloat16RoundsToNearestEven) { CheckNeighbours<BFloat16>(0x7F80); }

TEST(Half, Overflow) {
  EXPECT_EQ(Narrow<Float16>(65519.99).bits, 0x7BFF);
  EXPECT_EQ(Narrow<Float16>(65520.0).bits, 0x7C00);
  EXPECT_EQ(Narrow<Float16>(-1e300).bits, 0xFC00);
  EXPECT_EQ(Narrow<BFloat16>(1e300).bits, 0x7F80);
  EXPECT_EQ(Narrow<BFloat16>(3.4e38).bits, 0x7F80);
}

TEST(Half, ZerosArePositiveAndNaNCanonical) {
  EXPECT_EQ(Narrow<Float16>(-0.0).bits, 0);
  EXPECT_EQ(Narrow<Float16>(-1e-30).bits, 0);
  EXPECT_EQ(Narrow<BFloat16>(-1e-300).bits, 0);
  EXPECT_FALSE(std::signbit(Narrow<float>(-1e-300)));
  EXPECT_FALSE(std::signbit(Narrow<double>(-0.0)));
  EXPECT_EQ(Narrow<Float16>(-NAN).bits, 0x7E00);
  EXPECT_EQ(Narrow<BFloat16>(-NAN).bits, 0x7FC0);
}

TEST(Half, InfinitiesAndNaNWiden) {
  EXPECT_EQ(ToFloat(Float16{0x7C00}), HUGE_VALF);
  EXPECT_EQ(ToFloat(Float16{0xFC00}), -HUGE_VALF);
  EXPECT_TRUE(std::isnan(ToFloat(Float16{0x7E00})));
  EXPECT_EQ(ToFloat(Float16{0x0001}), 0x1p-24F);
  EXPECT_EQ(ToFloat(BFloat16{0x3F80}), 1.0F);
}

}  // namespace
}  // namespace lossd
