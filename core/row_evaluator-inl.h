// Everything about one row: which passes serve it, its loss, counts and gradients.
#ifndef LOSSD_CORE_ROW_EVALUATOR_INL_H_
#define LOSSD_CORE_ROW_EVALUATOR_INL_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <variant>

#include "core/dtype.h"
#include "core/kernel.h"
#include "core/labels.h"
#include "core/load.h"
#include "core/math.h"
#include "core/options.h"
#include "core/plan.h"
#include "core/row_kernels.h"
#include "core/summary.h"

namespace lossd {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Pointers of one position whose classes lie contiguous.
struct RowData {
  const std::byte* input;
  const std::byte* target;
  std::byte* grad_input;
  std::byte* grad_target;
};

/// The type of losses and of their sums beside logits of storage type T.
template <typename T>
using LossOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// What the passes in float32 are for: class indices without smoothing, narrower than float64.
template <typename T>
bool ServedInFloat(const Plan& plan) {
  return !std::is_same_v<T, double> && plan.target_kind() == TargetKind::kClassIndex &&
         plan.options().label_smoothing == 0.0;
}

/// The incoming gradient of a position of the slab. REQUIRES: slab.grad_output != nullptr.
inline double GradOutputAt(const Plan& plan, const Slab& slab, int64_t at) {
  const DType dtype = plan.grad_output()->dtype;
  double value = 0;
  LoadAsDouble(dtype, slab.grad_output + static_cast<size_t>(at) * SizeOf(dtype), 1, &value);
  return value;
}

/// Evaluates rows of storage type T (input) and P (probability target).
template <typename T, typename P>
class RowEvaluator {
 public:
  using Loss = LossOf<T>;

  RowEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        kernels_(GetRowKernels(context.plan->input().dtype, std::is_same_v<P, float>
                                                                ? DType::kFloat32
                                                                : context.plan->input().dtype)),
        plan_(*context.plan),
        totals_(totals),
        loss_sum_(&std::get<ExactSum<Loss>>(totals->loss)),
        classes_(static_cast<size_t>(plan_.classes())),
        weight_(plan_.weight().empty() ? nullptr : plan_.weight().data()),
        smooth_(plan_.options().label_smoothing / static_cast<double>(plan_.classes())),
        sharp_(1.0 - plan_.options().label_smoothing),
        greatest_weight_(GreatestWeight(classes_)) {
    scratch->exponentials.resize(classes_);
    exponentials_ = scratch->exponentials.data();
    if (context.class_sums != nullptr) {
      scratch->terms.resize(classes_);
      terms_ = scratch->terms.data();
    }
  }

  /// `at` is the position in the slab.
  void Evaluate(const RowData& data, const Slab& slab, int64_t at) {
    const int64_t label =
        context_.labels == nullptr ? 0 : context_.labels->At(slab.first_position + at);
    const bool ignored = label < 0;
    if (ignored && slab.log_sum_exp == nullptr) return StoreIgnored(data, slab, at);
    if (classes_ > kMaxTileClasses && ServedInFloat<T>(plan_) &&
        EvaluateFloat(label, data, slab, at)) {
      return;
    }
    EvaluateWide(label, data, slab, at);
  }

  /// The passes in double.
  void EvaluateWide(int64_t label, const RowData& data, const Slab& slab, int64_t at) {
    const WideRowStats stats = kernels_.analyze_wide(data.input, classes_, exponentials_);
    if (slab.log_sum_exp != nullptr) {
      Store<Loss>(slab.log_sum_exp, at, stats.valid ? stats.max + stats.log_norm : kNaN);
    }
    if (label < 0) return StoreIgnored(data, slab, at);
    double scale = context_.scale;
    if (slab.grad_output != nullptr) scale = GradOutputAt(plan_, slab, at);
    if (context_.labels == nullptr) {
      EvaluateProbabilities(stats, data, slab, at, scale);
    } else {
      EvaluateIndex(stats, static_cast<size_t>(label), data, slab, at, scale);
    }
  }

 private:
  /// How many classes rank before class c of a row.
  [[nodiscard]] uint64_t Rank(const std::byte* x, size_t c) const {
    const double at = LogitAt(x, c);
    uint64_t rank = 0;
    for (size_t k = 0; k < classes_; ++k) {
      const double other = LogitAt(x, k);
      if (other > at || (other == at && k < c)) ++rank;
    }
    return rank;
  }

  static double LogitAt(const std::byte* x, size_t c) {
    return Widen(LoadRaw<T>(x + c * sizeof(T)));
  }

  template <typename Element>
  static void Store(std::byte* base, int64_t at, double value) {
    StoreRaw(base + static_cast<size_t>(at) * sizeof(Element), Narrow<Element>(value));
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

  void Count(int64_t argmax, const std::byte* x, size_t label) {
    if (argmax == static_cast<int64_t>(label)) ++totals_->correct;
    const uint32_t k = plan_.outputs().top_k;
    if (k > 0 && Rank(x, label) < k) ++totals_->correct_top_k;
  }

  /// False, with nothing written, where the row needs the passes in double.
  bool EvaluateFloat(int64_t label, const RowData& data, const Slab& slab, int64_t at) {
    const FloatRowStats stats = kernels_.analyze(data.input, classes_);
    if (!stats.in_range) return false;
    const double log_norm = Log1pNonNegative(stats.tail);
    double weight = 0;
    double scale = context_.scale;
    // What exponentials are multiplied by: p_c = exp(x_c) / (exp(max) (1 + tail)).
    double factor = 0;
    if (label >= 0) {
      weight = plan_.WeightOf(label);
      if (slab.grad_output != nullptr) scale = GradOutputAt(plan_, slab, at);
      factor = weight * scale / ((1.0 + stats.tail) * stats.max_mantissa) * kExponentialScale;
      if (!(std::abs(weight) <= greatest_weight_)) return false;
      if (data.grad_input != nullptr && !FactorFits(factor)) return false;
    }
    const auto max = static_cast<double>(stats.max);
    if (slab.log_sum_exp != nullptr) Store<Loss>(slab.log_sum_exp, at, max + log_norm);
    if (label < 0) {
      StoreIgnored(data, slab, at);
      return true;
    }
    const auto y = static_cast<size_t>(label);
    Count(stats.argmax, data.input, y);
    const double difference = LogitAt(data.input, y) - max;
    const double negative_log = log_norm - difference;
    StoreLoss(slab, at, weight == 0.0 ? 0.0 : weight * negative_log);
    if (context_.class_sums != nullptr) context_.class_sums->AddOne(label, scale * negative_log);
    if (data.grad_input == nullptr) return true;
    // Minus the sum of the others; the maximum's own term is 1 and no part of the tail.
    const double others =
        label == stats.argmax ? stats.tail : 1.0 + (stats.tail - ExpNonPositive(difference));
    kernels_.index_gradient(
        data.input, classes_, stats,
        {static_cast<float>(factor), y, -(weight * scale / (1.0 + stats.tail)) * others,
         context_.stream_gradients},
        data.grad_input);
    return true;
  }

  /// factor (-l_c). Where the loss is so small that log1p(tail) is the tail, from the scaled tail.
  [[nodiscard]] double TimesNegativeLog(const WideRowStats& stats, double factor,
                                        double logit) const {
    const double below = stats.max - logit;
    if (std::is_same_v<T, double> && stats.log_norm < 0x1p-900 && below == 0.0) {
      return Unscale<T>(factor, stats.tail);
    }
    return factor * (below + stats.log_norm);
  }

  /// Sum of exp(x_k - max) over all classes.
  static double Norm(const WideRowStats& stats) { return 1.0 + Unscale<T>(1.0, stats.tail); }

  void EvaluateIndex(const WideRowStats& stats, size_t label, const RowData& data, const Slab& slab,
                     int64_t at, double scale) {
    if (stats.valid) Count(stats.argmax, data.input, label);
    const double own = sharp_ * plan_.WeightOf(static_cast<int64_t>(label));
    const double logit = LogitAt(data.input, label);
    double loss = kNaN;
    if (stats.valid) {
      loss = own == 0.0 ? 0.0 : TimesNegativeLog(stats, own, logit);
      if (smooth_ != 0.0) {
        double unused = 0;
        const double below =
            kernels_.sum_masses(data.input, classes_, stats.max, {nullptr, weight_, 1, 1}, &unused);
        loss += smooth_ * (below + plan_.weight_sum() * stats.log_norm);
      }
    }
    StoreLoss(slab, at, loss);
    if (context_.class_sums != nullptr) {
      AddIndexTerms(stats, label, scale, data, logit);
    }
    if (data.grad_input == nullptr) return;
    if (!stats.valid) return FillNaN<T>(data.grad_input);
    if (smooth_ == 0.0) {
      SharpGradient(stats, label, own * scale, data.grad_input);
    } else {
      SmoothGradient(stats, label, own, scale, data.grad_input);
    }
  }

  /// own x (p_c - [c = y]); the target's own entry is minus the sum of the others.
  void SharpGradient(const WideRowStats& stats, size_t label, double own, std::byte* to) const {
    const double factor = own / Norm(stats);
    kernels_.scale_wide(exponentials_, classes_, factor, to);
    const bool top = static_cast<int64_t>(label) == stats.argmax;
    const double others = top ? stats.tail : kWideScale<T> + (stats.tail - exponentials_[label]);
    Store<T>(to, static_cast<int64_t>(label), -Unscale<T>(factor, others));
  }

  void SmoothGradient(const WideRowStats& stats, size_t label, double own, double scale,
                      std::byte* to) const {
    const double total = own + smooth_ * plan_.weight_sum();
    const double norm = Norm(stats);
    kernels_.mass_gradient(exponentials_, classes_, total, norm, scale,
                           {nullptr, weight_, sharp_, smooth_}, to);
    const auto top = static_cast<size_t>(stats.argmax);
    const auto spread = [&](size_t c) { return smooth_ * plan_.WeightOf(static_cast<int64_t>(c)); };
    const double p = Unscale<T>(1.0, exponentials_[label]) / norm;
    Store<T>(to, static_cast<int64_t>(label), scale * std::fma(total, p, -(own + spread(label))));
    StoreTopGradient(stats, total, scale, spread(top) + (top == label ? own : 0.0), to);
  }

  /// scale (total p_c - m_c) for the maximum's class. Its p may be near 1, where an error of a unit
  /// in the last place is the greatest; 1 - p, from the tail, is then small and as exact.
  void StoreTopGradient(const WideRowStats& stats, double total, double scale, double mass,
                        std::byte* to) const {
    const double rest = total * (Unscale<T>(1.0, stats.tail) / Norm(stats));
    Store<T>(to, stats.argmax, scale * ((total - mass) - rest));
  }

  void AddIndexTerms(const WideRowStats& stats, size_t label, double scale, const RowData& data,
                     double logit) {
    if (smooth_ == 0.0) {
      const double term = stats.valid ? TimesNegativeLog(stats, scale, logit) : kNaN;
      context_.class_sums->AddOne(static_cast<int64_t>(label), term);
      return;
    }
    kernels_.weight_terms(data.input, classes_, stats, scale, {nullptr, nullptr, sharp_, smooth_},
                          terms_);
    const double log = stats.valid ? (stats.max - logit) + stats.log_norm : kNaN;
    const double share = sharp_ + smooth_;
    terms_[label] = share == 0.0 ? 0.0 : scale * (share * log);
    context_.class_sums->AddRow(terms_);
  }

  void EvaluateProbabilities(const WideRowStats& stats, const RowData& data, const Slab& slab,
                             int64_t at, double scale) {
    const MassSource masses{data.target, weight_, sharp_, smooth_};
    if (stats.valid) CountProbabilities(stats, data);
    double total = 0;
    double loss = kNaN;
    if (stats.valid) {
      const double below = kernels_.sum_masses(data.input, classes_, stats.max, masses, &total);
      loss = below + total * stats.log_norm;
    }
    StoreLoss(slab, at, loss);
    if (context_.class_sums != nullptr) {
      kernels_.weight_terms(data.input, classes_, stats, scale, masses, terms_);
      context_.class_sums->AddRow(terms_);
    }
    if (data.grad_target != nullptr) {
      if (stats.valid) {
        kernels_.target_gradient(data.input, classes_, stats, scale, masses, data.grad_target);
      } else {
        FillNaN<P>(data.grad_target);
      }
    }
    if (data.grad_input == nullptr) return;
    if (!stats.valid) return FillNaN<T>(data.grad_input);
    const auto top = static_cast<size_t>(stats.argmax);
    const double probability = Widen(LoadRaw<P>(data.target + top * sizeof(P)));
    const double mass = plan_.WeightOf(stats.argmax) * std::fma(sharp_, probability, smooth_);
    kernels_.mass_gradient(exponentials_, classes_, total, Norm(stats), scale, masses,
                           data.grad_input);
    StoreTopGradient(stats, total, scale, mass, data.grad_input);
  }

  /// The class of a probability target is its greatest entry, the lowest index among equals.
  void CountProbabilities(const WideRowStats& stats, const RowData& data) {
    size_t best = 0;
    double greatest = -std::numeric_limits<double>::infinity();
    for (size_t c = 0; c < classes_; ++c) {
      const double t = Widen(LoadRaw<P>(data.target + c * sizeof(P)));
      if (t > greatest) {
        greatest = t;
        best = c;
      }
    }
    Count(stats.argmax, data.input, best);
  }

  template <typename Element>
  void FillNaN(std::byte* to) const {
    for (size_t c = 0; c < classes_; ++c) Store<Element>(to, static_cast<int64_t>(c), kNaN);
  }

  const RowContext& context_;
  const RowKernels& kernels_;
  const Plan& plan_;
  RowTotals* totals_;
  WindowedSum<Loss> loss_sum_;
  size_t classes_;
  const double* weight_;  ///< Null: all 1.
  double smooth_;         ///< e / C
  double sharp_;          ///< 1 - e
  double greatest_weight_;
  double* exponentials_ = nullptr;
  double* terms_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROW_EVALUATOR_INL_H_
