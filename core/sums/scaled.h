// Numbers with an unbounded exponent, for the few that leave double's range on the way to a result
// that does not. They are slow, but used only after a test, which ordinary rows never meet.
#ifndef LOSSD_CORE_SUMS_SCALED_H_
#define LOSSD_CORE_SUMS_SCALED_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace lossd {

/// value x 2^exponent, with 53 bits of precision.
struct Scaled {
  double value = 0;               ///< Its magnitude is in [1/2, 1), 0, infinite or NaN.
  int64_t exponent = kNoneAbove;  ///< Below all others if the value is 0.

  static constexpr int64_t kNoneAbove = -(int64_t{1} << 40U);

  /// value x 2^exponent for any double.
  static Scaled Of(double value, int64_t exponent = 0) {
    if (value == 0.0) return {};
    if (!std::isfinite(value)) return {value, 0};
    int own = 0;
    const double fraction = std::frexp(value, &own);
    return {fraction, exponent + own};
  }

  /// The nearest double: infinite beyond double's range, rounded once more below the normal range.
  [[nodiscard]] double ToDouble() const { return Shifted(exponent); }
  /// value x 2^to; exact unless the result is subnormal.
  [[nodiscard]] double Shifted(int64_t to) const {
    constexpr int64_t kFar = 4096;
    return std::ldexp(value, static_cast<int>(std::clamp(to, -kFar, kFar)));
  }
  [[nodiscard]] bool IsZero() const { return value == 0.0; }
};

// Each operation rounds once.
inline Scaled operator*(const Scaled& a, const Scaled& b) {
  return Scaled::Of(a.value * b.value, a.exponent + b.exponent);
}
inline Scaled operator/(const Scaled& a, const Scaled& b) {
  return Scaled::Of(a.value / b.value, a.exponent - b.exponent);
}
inline Scaled operator-(const Scaled& a) { return {-a.value, a.exponent}; }
inline Scaled operator+(const Scaled& a, const Scaled& b) {
  const int64_t unit = std::max(a.exponent, b.exponent);
  return Scaled::Of(a.Shifted(a.exponent - unit) + b.Shifted(b.exponent - unit), unit);
}
inline Scaled operator-(const Scaled& a, const Scaled& b) { return a + -b; }
/// a b - c, rounded once. REQUIRES: |b| <= 1.
inline Scaled ProductMinus(const Scaled& a, double b, const Scaled& c) {
  const int64_t unit = std::max(a.exponent, c.exponent);
  return Scaled::Of(std::fma(a.Shifted(a.exponent - unit), b, -c.Shifted(c.exponent - unit)), unit);
}

/// A sum of Scaled numbers, corrected by the sum of its rounding errors.
class ScaledSum {
 public:
  void Add(const Scaled& term) {
    if (!std::isfinite(term.value)) {
      special_ += term.value;
      return;
    }
    if (term.exponent > unit_) {
      const int64_t down = std::max<int64_t>(unit_ - term.exponent, -4096);
      sum_ = std::ldexp(sum_, static_cast<int>(down));
      error_ = std::ldexp(error_, static_cast<int>(down));
      unit_ = term.exponent;
    }
    const double value = term.Shifted(term.exponent - unit_);
    const double next = sum_ + value;
    const double part = next - sum_;
    error_ += (sum_ - (next - part)) + (value - part);
    sum_ = next;
  }

  [[nodiscard]] Scaled Total() const {
    if (special_ != 0.0) return Scaled::Of(special_);
    return Scaled::Of(sum_ + error_, unit_);
  }

 private:
  double sum_ = 0;
  double error_ = 0;
  int64_t unit_ = Scaled::kNoneAbove;
  double special_ = 0;  ///< The sum of infinite and NaN terms.
};

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_SCALED_H_
