// The loss of a row with a precision of 200 bits, computed with MPFR.
#ifndef LOSSD_TESTS_SUPPORT_TRUTH_H_
#define LOSSD_TESTS_SUPPORT_TRUTH_H_

#include <gmp.h>
#include <mpfr.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

namespace lossd::testing {

/// A 200-bit number with value semantics.
class Big {
 public:
  Big(double value = 0) {  // NOLINT(*-explicit-constructor): converts like other number types.
    mpfr_init2(value_, 200);
    mpfr_set_d(value_, value, MPFR_RNDN);
  }
  Big(const Big& other) : Big() { mpfr_set(value_, other.value_, MPFR_RNDN); }
  Big& operator=(const Big& other) {
    mpfr_set(value_, other.value_, MPFR_RNDN);
    return *this;
  }
  ~Big() { mpfr_clear(value_); }

  friend Big operator+(const Big& a, const Big& b) { return Apply(mpfr_add, a, b); }
  friend Big operator-(const Big& a, const Big& b) { return Apply(mpfr_sub, a, b); }
  friend Big operator*(const Big& a, const Big& b) { return Apply(mpfr_mul, a, b); }
  friend Big operator/(const Big& a, const Big& b) { return Apply(mpfr_div, a, b); }
  friend Big Exp(const Big& a) { return Apply(mpfr_exp, a); }
  friend Big Log1p(const Big& a) { return Apply(mpfr_log1p, a); }
  friend Big Abs(const Big& a) { return Apply(mpfr_abs, a); }
  [[nodiscard]] double ToDouble() const { return mpfr_get_d(value_, MPFR_RNDN); }
  [[nodiscard]] bool IsZero() const { return mpfr_zero_p(value_) != 0; }

 private:
  template <typename Function>
  static Big Apply(Function function, const Big& a, const Big& b) {
    Big result;
    function(result.value_, a.value_, b.value_, MPFR_RNDN);
    return result;
  }
  template <typename Function>
  static Big Apply(Function function, const Big& a) {
    Big result;
    function(result.value_, a.value_, MPFR_RNDN);
    return result;
  }
  mpfr_t value_;
};

/// The distance of `got` from `truth` in ulps of F at `truth`.
template <typename F>
double UlpError(F got, const Big& truth) {
  const double exact = truth.ToDouble();
  if (std::isinf(exact) || std::abs(exact) > static_cast<double>(std::numeric_limits<F>::max())) {
    return std::isinf(got) && (got > 0) == (exact > 0) ? 0 : HUGE_VAL;
  }
  int exponent = truth.IsZero() ? std::numeric_limits<F>::min_exponent - 1 : std::ilogb(exact);
  exponent = std::max(exponent, std::numeric_limits<F>::min_exponent - 1);
  const int unit = exponent - std::numeric_limits<F>::digits + 1;
  // Divide in two steps, because an ulp of float64 can be subnormal.
  const Big distance = Abs(Big(static_cast<double>(got)) - truth);
  return (distance / Big(std::ldexp(1.0, unit / 2)) / Big(std::ldexp(1.0, unit - unit / 2)))
      .ToDouble();
}

/// Softmax statistics of finite logits.
class TruthRow {
 public:
  explicit TruthRow(std::vector<double> x) : x_(std::move(x)), exponentials_(x_.size()) {
    for (size_t c = 1; c < x_.size(); ++c) {
      if (x_[c] > x_[top_]) top_ = c;
    }
    for (size_t c = 0; c < x_.size(); ++c) {
      exponentials_[c] = Exp(Big(x_[c]) - Big(x_[top_]));
      if (c != top_) tail_ = tail_ + exponentials_[c];
    }
    log_norm_ = Log1p(tail_);
  }
  /// -l_c.
  [[nodiscard]] Big NegativeLog(size_t c) const { return Big(x_[top_]) - Big(x_[c]) + log_norm_; }
  [[nodiscard]] Big Softmax(size_t c) const { return exponentials_[c] / (Big(1) + tail_); }
  /// p_y - 1, computed as minus the sum of the other p_c.
  [[nodiscard]] Big SoftmaxMinusOne(size_t y) const {
    Big others;
    for (size_t c = 0; c < x_.size(); ++c) {
      if (c != y) others = others + exponentials_[c];
    }
    return Big(0) - others / (Big(1) + tail_);
  }

 private:
  std::vector<double> x_;
  std::vector<Big> exponentials_;
  size_t top_ = 0;
  Big tail_;
  Big log_norm_;
};

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_TRUTH_H_
