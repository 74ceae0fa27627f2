// One row with a class index and no smoothing, by the vector passes of float_row.h: the loss and
// its gradient in float32 arithmetic, the few numbers of a row that decide accuracy in double.
#ifndef LOSSD_CORE_FAST_ROW_INL_H_
#define LOSSD_CORE_FAST_ROW_INL_H_

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/float_row.h"
#include "core/half.h"
#include "core/kernel.h"
#include "core/load.h"
#include "core/math.h"

namespace lossd {

/// T is float or a half type, whose rows are widened first.
template <typename T>
class FastRow {
 public:
  FastRow(const FloatRowKernels& kernels, const std::byte* logits, size_t classes, Scratch* scratch)
      : kernels_(kernels), classes_(classes) {
    if constexpr (std::is_same_v<T, float>) {
      x_ = reinterpret_cast<const float*>(
          logits);  // NOLINT(*-reinterpret-cast): loads are unaligned.
    } else {
      scratch->floats.resize(classes);
      for (size_t c = 0; c < classes; ++c) {
        scratch->floats[c] = ToFloat(LoadRaw<T>(logits + c * sizeof(T)));
      }
      x_ = wide_ = scratch->floats.data();
    }
  }

  /// False where the row needs the passes in double: NaN, infinities, or a maximum beyond 1024.
  bool Analyze() {
    stats_ = kernels_.analyze(x_, classes_);
    if (!stats_.in_range) return false;
    tail_ = stats_.tail * 0x1p-64;
    log_norm_ = Log1pNonNegative(tail_);
    return true;
  }

  [[nodiscard]] int64_t argmax() const { return stats_.argmax; }
  [[nodiscard]] double LogSumExp() const { return static_cast<double>(stats_.max) + log_norm_; }
  /// -l_c
  [[nodiscard]] double NegativeLog(size_t c) const { return -Difference(c) + log_norm_; }

  /// What scale_exponentials multiplies by so that row c's gradient is own p_c; in double.
  [[nodiscard]] double Factor(double own) const {
    return own / ((1.0 + tail_) * stats_.max_mantissa) * 0x1p-64;
  }

  /// own (p_c - [c = label]); the label's own entry is minus the sum of the others. `to` may be the
  /// logits. REQUIRES: FactorFits(Factor(own)).
  void Gradient(size_t label, double own, std::byte* to) {
    const bool top = static_cast<int64_t>(label) == stats_.argmax;
    // The maximum's own term is 1 and no part of the tail: nothing cancels.
    const double others = top ? tail_ : 1.0 + (tail_ - ExpNonPositive(Difference(label)));
    const double at_label = -(own / (1.0 + tail_)) * others;
    const auto factor = static_cast<float>(Factor(own));
    if constexpr (std::is_same_v<T, float>) {
      kernels_.scale_exponentials(x_, classes_, stats_, factor,
                                  reinterpret_cast<float*>(to));  // NOLINT(*-reinterpret-cast)
    } else {
      kernels_.scale_exponentials(x_, classes_, stats_, factor, wide_);
      for (size_t c = 0; c < classes_; ++c) StoreRaw(to + c * sizeof(T), Round(wide_[c]));
    }
    StoreRaw(to + label * sizeof(T), Narrow<T>(at_label));
  }

 private:
  /// x_c - max, at most 0.
  [[nodiscard]] double Difference(size_t c) const {
    const auto x = LoadRaw<float>(reinterpret_cast<const std::byte*>(x_ + c));  // NOLINT(*-cast)
    return static_cast<double>(x) - static_cast<double>(stats_.max);
  }

  /// Nearest even, of a finite value or an infinity.
  static T Round(float value) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      const auto bits = std::bit_cast<uint32_t>(value);
      const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
      return {static_cast<uint16_t>(rounded == 0x8000U ? 0U : rounded)};
    } else {
      return Narrow<T>(static_cast<double>(value));
    }
  }

  const FloatRowKernels& kernels_;
  const float* x_ = nullptr;
  float* wide_ = nullptr;
  size_t classes_;
  FloatRowStats stats_;
  double tail_ = 0;
  double log_norm_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CORE_FAST_ROW_INL_H_
