// Writes and counts the results of a row, whichever passes serve it.
#ifndef LOSSD_CORE_ROWS_ROW_OUTPUTS_H_
#define LOSSD_CORE_ROWS_ROW_OUTPUTS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <variant>

#include "core/passes/row_kernels.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/rows/great_row.h"
#include "core/rows/kernel.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"

namespace lossd {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Pointers of one position whose classes are contiguous.
struct RowData {
  const std::byte* input;
  const std::byte* target;
  std::byte* grad_input;
  std::byte* grad_target;
};

/// The type of losses and of their sums for logits of storage type T.
template <typename T>
using LossOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// The passes for the plan's logits, and for probabilities, if any, of storage type P.
template <typename P>
const RowKernels& KernelsOf(const Plan& plan) {
  const DType input = plan.input().dtype;
  return GetRowKernels(input, std::is_same_v<P, float> ? DType::kFloat32 : input);
}

/// Whether all the mass of a position lies on one class: a class index without smoothing.
inline bool HasHardTargets(const Plan& plan) {
  return plan.target_kind() == TargetKind::kClassIndex && plan.criterion().label_smoothing() == 0.0;
}

/// The incoming gradient of a position of the slab. REQUIRES: slab.grad_output != nullptr.
inline double GradOutputAt(const Plan& plan, const Slab& slab, int64_t at) {
  const DType dtype = plan.grad_output()->dtype;
  double value = 0;
  LoadAsDouble(dtype, slab.grad_output + static_cast<size_t>(at) * SizeOf(dtype), 1, &value);
  return value;
}

/// Writes and counts for rows of storage type T.
template <typename T>
class RowOutputs {
 public:
  using Loss = LossOf<T>;

  RowOutputs(const RowContext& context, RowTotals* totals)
      : context_(context),
        plan_(*context.plan),
        classes_(static_cast<size_t>(plan_.classes())),
        totals_(totals),
        loss_sum_(&std::get<ExactSum<Loss>>(totals->loss)) {}

  static double LogitAt(const std::byte* x, size_t c) {
    return Widen(LoadRaw<T>(x + c * sizeof(T)));
  }

  template <typename Element>
  static void Store(std::byte* base, int64_t at, double value) {
    StoreRaw(base + static_cast<size_t>(at) * sizeof(Element), Narrow<Element>(value));
  }

  template <typename Element>
  void FillNaN(std::byte* to) const {
    for (size_t c = 0; c < classes_; ++c) Store<Element>(to, static_cast<int64_t>(c), kNaN);
  }

  /// The scale s_n of a position of the slab.
  [[nodiscard]] double ScaleAt(const Slab& slab, int64_t at) const {
    return slab.grad_output == nullptr ? context_.scale : GradOutputAt(plan_, slab, at);
  }

  void StoreIgnored(const RowData& data, const Slab& slab, int64_t at) {
    StoreLoss(slab, at, 0.0);
    if (data.grad_input != nullptr) std::memset(data.grad_input, 0, classes_ * sizeof(T));
  }

  void StoreLoss(const Slab& slab, int64_t at, double loss) {
    const Loss rounded = Narrow<Loss>(loss);
    loss_sum_.Add(rounded);
    if (slab.loss != nullptr) {
      StoreRaw(slab.loss + static_cast<size_t>(at) * sizeof(Loss), rounded);
    }
  }

  void StoreLogSumExp(const Slab& slab, int64_t at, double value) const {
    if (slab.log_sum_exp != nullptr) Store<Loss>(slab.log_sum_exp, at, value);
  }

  /// `correct`: the label has the row's maximum, and no class before it has.
  void Count(bool correct, const std::byte* x, size_t label) {
    if (correct) ++totals_->correct;
    const uint32_t k = plan_.outputs().top_k;
    if (k > 0 && Rank(x, label) < k) ++totals_->correct_top_k;
  }

  /// As Count, for rows in which no pass has looked for the maximum.
  void CountByRank(const std::byte* x, size_t label) {
    const uint64_t rank = Rank(x, label);
    if (rank == 0) ++totals_->correct;
    if (rank < plan_.outputs().top_k) ++totals_->correct_top_k;
  }

 private:
  /// The number of classes that rank before class c of a row; all classes if one is NaN.
  [[nodiscard]] uint64_t Rank(const std::byte* x, size_t c) const {
    const double at = LogitAt(x, c);
    uint64_t rank = 0;
    uint64_t ordered = 0;
    for (size_t k = 0; k < classes_; ++k) {
      const double other = LogitAt(x, k);
      rank += static_cast<uint64_t>(other > at || (other == at && k < c));
      ordered += static_cast<uint64_t>(other == other);
    }
    return ordered == classes_ ? rank : classes_;
  }

  const RowContext& context_;
  const Plan& plan_;
  size_t classes_;
  RowTotals* totals_;
  WindowedSum<Loss> loss_sum_;
};

/// factor (-l_c). If the loss is so small that log1p(tail) equals the tail, the result comes from
/// the scaled tail.
template <typename T>
double TimesNegativeLog(const WideRowStats& stats, double factor, double logit) {
  const double below = stats.max - logit;
  if (std::is_same_v<T, double> && stats.log_norm < 0x1p-900 && below == 0.0) {
    return Unscale<T>(factor, stats.tail);
  }
  const double product = factor * (below + stats.log_norm);
  if constexpr (std::is_same_v<T, double>) {
    if (!std::isfinite(product)) return GreatRow::TimesNegativeLog(stats, factor, logit);
  }
  return product;
}

/// Limits the magnitude of `value` to that of `limit`, which rounding may have exceeded, so that no
/// probability is above 1.
inline double WithinLimit(double value, double limit) {
  return std::copysign(std::min(std::abs(value), std::abs(limit)), value);
}

/// The sum of exp(x_k - max) over all classes.
template <typename T>
double NormOf(const WideRowStats& stats) {
  return 1.0 + Unscale<T>(1.0, stats.tail);
}

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_ROW_OUTPUTS_H_
