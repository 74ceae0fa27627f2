// One row of logits, contiguous, of storage type T: the arithmetic of the loss and its gradients.
//
// Everything is computed in double in a fixed order over eight virtual lanes, without fused
// operations, and rounded once at the end. For float64 input the differences x - max and the sums
// carry their rounding errors along (TwoSum), which keeps the loss within 4 ulp.
#ifndef LOSSD_CORE_ROW_INL_H_
#define LOSSD_CORE_ROW_INL_H_

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/load.h"
#include "core/math.h"

namespace lossd {

inline constexpr size_t kLanes = 8;

/// Sum over eight lanes, item i going to lane i % 8, and a fixed tree at the end. With kCompensated
/// the rounding errors are summed beside.
template <bool kCompensated>
class LaneSum {
 public:
  void Add(size_t i, double value) {
    double& sum = sums_[i % kLanes];
    const double next = sum + value;
    if constexpr (kCompensated) {
      const double part = next - sum;
      errors_[i % kLanes] += (sum - (next - part)) + (value - part);
    }
    sum = next;
  }

  [[nodiscard]] double Total() const {
    LaneSum<true> top;
    for (size_t lane = 0; lane < kLanes; ++lane) top.AddToFirst(sums_[lane]);
    double errors = 0;
    for (size_t lane = 0; lane < kLanes; ++lane) errors += errors_[lane];
    return top.First(errors);
  }

  void AddToFirst(double value) { Add(0, value); }
  /// The first lane with its error and `more`; infinities have no meaningful error.
  [[nodiscard]] double First(double more) const {
    return std::isfinite(sums_[0]) ? sums_[0] + (errors_[0] + more) : sums_[0];
  }

 private:
  template <bool>
  friend class LaneSum;
  std::array<double, kLanes> sums_{};
  std::array<double, kLanes> errors_{};
};

/// What the passes over a row's logits find out.
struct RowStats {
  double max = 0;
  double tail = 0;      ///< Sum of exp(x_c - max) 2^kScale over all classes but `argmax`.
  double log_norm = 0;  ///< log(sum_c exp(x_c - max)) = log1p(tail 2^-kScale).
  int64_t argmax = 0;   ///< Lowest index of the maximum.
  bool valid = false;   ///< False: +inf or NaN among the logits, or all -inf.
};

template <typename T>
class Row {
 public:
  static constexpr bool kExact = std::is_same_v<T, double>;
  /// Exponentials of float64 logits are kept times 2^128: a sum of subnormal ones would lose its
  /// bits. For narrower logits double has range enough.
  static constexpr int kScale = kExact ? 128 : 0;
  static constexpr double kUp = kExact ? 0x1p128 : 1.0;
  static constexpr double kDown = kExact ? 0x1p-128 : 1.0;

  /// `exponentials` has room for `classes` doubles.
  Row(const std::byte* logits, int64_t classes, double* exponentials)
      : logits_(logits), classes_(static_cast<size_t>(classes)), exp_(exponentials) {}

  /// x_c, widened.
  [[nodiscard]] double At(size_t c) const { return Widen(LoadRaw<T>(logits_ + c * sizeof(T))); }

  /// max - x_c.
  [[nodiscard]] double Below(size_t c) const { return stats_.max - At(c); }
  /// -l_c, minus the log of the softmax.
  [[nodiscard]] double NegativeLog(size_t c) const { return Below(c) + stats_.log_norm; }
  /// factor exp(x_c - max), rounded once where the result is subnormal.
  [[nodiscard]] double TimesExp(double factor, size_t c) const { return Unscale(factor, exp_[c]); }
  /// Sum of exp(x_k - max) over all classes.
  [[nodiscard]] double Norm() const { return 1.0 + stats_.tail * kDown; }
  /// factor times the sum of exp(x_k - max) over the classes other than c, without cancellation:
  /// the maximum's own term is exactly 1 and is never part of the tail.
  [[nodiscard]] double TimesOthers(double factor, size_t c) const {
    const bool top = static_cast<int64_t>(c) == stats_.argmax;
    return Unscale(factor, top ? stats_.tail : kUp + (stats_.tail - exp_[c]));
  }
  /// factor (-l_c). Where the loss is so small that log1p(tail) is the tail, from the scaled tail.
  [[nodiscard]] double TimesNegativeLog(double factor, size_t c) const {
    if (kExact && stats_.log_norm < 0x1p-900 && Below(c) == 0.0) {
      return Unscale(factor, stats_.tail);
    }
    return factor * NegativeLog(c);
  }
  [[nodiscard]] double LogSumExp() const { return stats_.max + stats_.log_norm; }
  [[nodiscard]] const RowStats& stats() const { return stats_; }

  void Analyze() {
    FindMax();
    if (!stats_.valid) return;
    for (size_t c = 0; c < classes_; ++c) exp_[c] = ShiftedExp(c);
    // The maximum stays out of the sum, so that a tiny remainder keeps all its bits for log1p.
    const auto argmax = static_cast<size_t>(stats_.argmax);
    exp_[argmax] = 0.0;
    LaneSum<kExact> tail;
    for (size_t c = 0; c < classes_; ++c) tail.Add(c, exp_[c]);
    exp_[argmax] = kUp;
    stats_.tail = tail.Total();
    stats_.log_norm = Log1pNonNegative(stats_.tail * kDown);
  }

  /// How many classes rank before class c: greater logits, and equal ones at lower indices.
  [[nodiscard]] uint64_t Rank(size_t c) const {
    const double at = At(c);
    uint64_t rank = 0;
    for (size_t k = 0; k < classes_; ++k) {
      const double other = At(k);
      if (other > at || (other == at && k < c)) ++rank;
    }
    return rank;
  }

 private:
  /// factor scaled 2^-kScale, in the order that neither overflows nor rounds twice.
  static double Unscale(double factor, double scaled) {
    if constexpr (!kExact) return factor * scaled;
    return std::abs(factor) > 1.0 ? (factor * kDown) * scaled : (factor * scaled) * kDown;
  }

  void FindMax() {
    stats_.max = -std::numeric_limits<double>::infinity();
    bool nan = false;
    for (size_t c = 0; c < classes_; ++c) {
      const double x = At(c);
      nan = nan || std::isnan(x);
      if (x > stats_.max) {
        stats_.max = x;
        stats_.argmax = static_cast<int64_t>(c);
      }
    }
    stats_.valid = !nan && std::isfinite(stats_.max);
  }

  [[nodiscard]] double ShiftedExp(size_t c) const {
    const double x = At(c);
    const double difference = x - stats_.max;
    const double result = ExpNonPositive<kScale>(difference);
    if constexpr (kExact) {
      // e^(d + error) = e^d (1 + error), the error being under an ulp of d.
      if (!std::isfinite(difference)) return 0.0;
      const double back = difference - x;
      const double error = (x - (difference - back)) + (-stats_.max - back);
      return result + result * error;
    }
    return result;
  }

  const std::byte* logits_;
  size_t classes_;
  double* exp_;
  RowStats stats_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROW_INL_H_
