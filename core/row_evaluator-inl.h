// Everything about one row or group of rows: which passes serve it, its loss, counts and gradients.
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
#include "core/fast_row-inl.h"
#include "core/float_row.h"
#include "core/group_rows-inl.h"
#include "core/kernel.h"
#include "core/labels.h"
#include "core/load.h"
#include "core/options.h"
#include "core/plan.h"
#include "core/row-inl.h"
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

/// Evaluates rows of storage type T (input) and P (probability target).
template <typename T, typename P>
class RowEvaluator {
 public:
  using Loss = std::conditional_t<std::is_same_v<T, double>, double, float>;
  static constexpr bool kExact = Row<T>::kExact;

  RowEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        scratch_(scratch),
        kernels_(GetFloatRowKernels()),
        plan_(*context.plan),
        totals_(totals),
        loss_sum_(std::get<ExactSum<Loss>>(totals->loss)),
        classes_(static_cast<size_t>(plan_.classes())),
        smooth_(plan_.options().label_smoothing / static_cast<double>(plan_.classes())),
        sharp_(1.0 - plan_.options().label_smoothing) {
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
    if constexpr (!std::is_same_v<T, double>) {
      const bool wide = classes_ > kMaxGroupClasses;
      if (wide && SharpIndex() && EvaluateFast(label, data, slab, at)) return;
    }
    Row<T> row(data.input, plan_.classes(), exponentials_);
    row.Analyze();
    if (slab.log_sum_exp != nullptr) {
      Store<Loss>(slab.log_sum_exp, at, row.stats().valid ? row.LogSumExp() : kNaN);
    }
    if (ignored) return StoreIgnored(data, slab, at);
    double scale = context_.scale;
    if (slab.grad_output != nullptr) scale = GradOutputAt(slab, at);
    if (context_.labels == nullptr) {
      EvaluateProbabilities(row, data, slab, at, scale);
    } else {
      EvaluateIndex(row, static_cast<size_t>(label), data, slab, at, scale);
    }
  }

  /// Whether rows are evaluated in groups: float32 arithmetic and few classes.
  [[nodiscard]] bool UsesGroups() const {
    return !std::is_same_v<T, double> && SharpIndex() && classes_ <= kMaxGroupClasses;
  }

  /// Evaluates the group of positions that begins with position `at` of the slab. Returns a bit for
  /// each position that it left to Evaluate, with nothing written. REQUIRES: UsesGroups().
  uint32_t EvaluateGroup(const std::byte* input, std::byte* grad_input, const Slab& slab,
                         int64_t at, const GroupLayout& layout) {
    FloatGroup group;
    group.gradient = grad_input != nullptr;
    double weights[kGroup] = {};
    double scales[kGroup] = {};
    for (size_t i = 0; i < kGroup; ++i) {
      const int64_t position = at + static_cast<int64_t>(i);
      const bool used = i < layout.count;
      const int64_t label = used ? context_.labels->At(slab.first_position + position) : -1;
      group.labels[i] = static_cast<int32_t>(label);
      if (label >= 0) {
        weights[i] = plan_.WeightOf(label);
        scales[i] = slab.grad_output != nullptr ? GradOutputAt(slab, position) : context_.scale;
      }
      group.own[i] = weights[i] * scales[i];
    }
    if constexpr (!std::is_same_v<T, double>) LoadGroup<T>(input, layout, &group);
    kernels_.evaluate_group(&group);
    uint32_t left = 0;
    for (size_t i = 0; i < layout.count; ++i) {
      group.good[i] = group.good[i] && std::abs(weights[i]) <= kGreatestWeight;
      if (!group.good[i]) left |= uint32_t{1} << i;
    }
    if constexpr (!std::is_same_v<T, double>) {
      if (group.gradient) StoreGroup<T>(group, layout, left == 0, grad_input);
    }
    for (size_t i = 0; i < layout.count; ++i) {
      if (group.good[i]) FinishLane(group, i, weights[i], scales[i], slab, at);
    }
    return left;
  }

 private:
  // A weight beyond this could lift what float32 exponentials leave out into a loss's last place.
  static constexpr double kGreatestWeight = 0x1p16;

  /// What the passes in float32 are for: class indices without smoothing.
  [[nodiscard]] bool SharpIndex() const { return context_.labels != nullptr && smooth_ == 0.0; }

  /// Everything of a lane but its gradient.
  void FinishLane(const FloatGroup& group, size_t i, double weight, double scale, const Slab& slab,
                  int64_t at) {
    const int64_t position = at + static_cast<int64_t>(i);
    if (slab.log_sum_exp != nullptr) {
      Store<Loss>(slab.log_sum_exp, position, group.log_sum_exps[i]);
    }
    const int64_t label = group.labels[i];
    if (label < 0) return StoreLoss(slab, position, 0.0);
    if (group.argmax[i] == label) ++totals_->correct;
    const uint32_t k = plan_.outputs().top_k;
    if (k > 0 && RankInGroup(group, i) < k) ++totals_->correct_top_k;
    StoreLoss(slab, position, weight == 0.0 ? 0.0 : weight * group.negative_logs[i]);
    if (context_.class_sums != nullptr) {
      context_.class_sums->AddOne(label, scale * group.negative_logs[i]);
    }
  }

  template <typename Element>
  static void Store(std::byte* base, int64_t at, double value) {
    StoreRaw(base + static_cast<size_t>(at) * sizeof(Element), Narrow<Element>(value));
  }

  [[nodiscard]] double GradOutputAt(const Slab& slab, int64_t at) const {
    const DType dtype = plan_.grad_output()->dtype;
    double value = 0;
    LoadAsDouble(dtype, slab.grad_output + static_cast<size_t>(at) * SizeOf(dtype), 1, &value);
    return value;
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

  void Count(const Row<T>& row, size_t label) {
    if (!row.stats().valid) return;
    if (row.stats().argmax == static_cast<int64_t>(label)) ++totals_->correct;
    const uint32_t k = plan_.outputs().top_k;
    if (k > 0 && row.Rank(label) < k) ++totals_->correct_top_k;
  }

  /// The sum over classes of w_c (-l_c), leaving out zero weights.
  [[nodiscard]] double WeightedNegativeLogs(const Row<T>& row) const {
    LaneSum<kExact> sum;
    for (size_t c = 0; c < classes_; ++c) {
      const double w = plan_.WeightOf(static_cast<int64_t>(c));
      if (w != 0.0) sum.Add(c, w * row.Below(c));
    }
    return sum.Total() + plan_.weight_sum() * row.stats().log_norm;
  }

  /// False, with nothing written, where the row needs the passes in double.
  bool EvaluateFast(int64_t label, const RowData& data, const Slab& slab, int64_t at) {
    FastRow<T> row(kernels_, data.input, classes_, scratch_);
    if (!row.Analyze()) return false;
    const auto y = static_cast<size_t>(label);
    double own = 0;
    double scale = context_.scale;
    if (label >= 0) {
      own = plan_.WeightOf(label);
      if (slab.grad_output != nullptr) scale = GradOutputAt(slab, at);
      if (!(std::abs(own) <= kGreatestWeight)) return false;
      if (data.grad_input != nullptr && !FactorFits(row.Factor(own * scale))) {
        return false;
      }
    }
    if (slab.log_sum_exp != nullptr) Store<Loss>(slab.log_sum_exp, at, row.LogSumExp());
    if (label < 0) {
      StoreIgnored(data, slab, at);
      return true;
    }
    if (row.argmax() == label) ++totals_->correct;
    const uint32_t k = plan_.outputs().top_k;
    if (k > 0 && Row<T>(data.input, plan_.classes(), exponentials_).Rank(y) < k) {
      ++totals_->correct_top_k;
    }
    const double negative_log = row.NegativeLog(y);
    StoreLoss(slab, at, own == 0.0 ? 0.0 : own * negative_log);
    if (context_.class_sums != nullptr) context_.class_sums->AddOne(label, scale * negative_log);
    if (data.grad_input != nullptr) row.Gradient(y, own * scale, data.grad_input);
    return true;
  }

  void EvaluateIndex(const Row<T>& row, size_t label, const RowData& data, const Slab& slab,
                     int64_t at, double scale) {
    Count(row, label);
    const double own = sharp_ * plan_.WeightOf(static_cast<int64_t>(label));
    double loss = kNaN;
    if (row.stats().valid) {
      loss = own == 0.0 ? 0.0 : row.TimesNegativeLog(own, label);
      if (smooth_ != 0.0) loss += smooth_ * WeightedNegativeLogs(row);
    }
    StoreLoss(slab, at, loss);
    if (data.grad_input != nullptr) {
      if (!row.stats().valid) {
        FillNaN<T>(data.grad_input);
      } else if (smooth_ == 0.0) {
        SharpGradient(row, label, own * scale, data.grad_input);
      } else {
        const double mass = own + smooth_ * plan_.weight_sum();
        MassGradient(row, mass, scale, data.grad_input, [&](size_t c) {
          const double spread = smooth_ * plan_.WeightOf(static_cast<int64_t>(c));
          return c == label ? own + spread : spread;
        });
      }
    }
    if (context_.class_sums == nullptr) return;
    if (smooth_ == 0.0) {
      const double term = row.stats().valid ? row.TimesNegativeLog(scale, label) : kNaN;
      context_.class_sums->AddOne(static_cast<int64_t>(label), term);
    } else {
      AddWeightTerms(row, scale, [&](size_t c) { return c == label ? sharp_ + smooth_ : smooth_; });
    }
  }

  void EvaluateProbabilities(const Row<T>& row, const RowData& data, const Slab& slab, int64_t at,
                             double scale) {
    const auto share = [&](size_t c) {
      return sharp_ * Widen(LoadRaw<P>(data.target + c * sizeof(P))) + smooth_;
    };
    const auto mass = [&](size_t c) { return plan_.WeightOf(static_cast<int64_t>(c)) * share(c); };
    CountProbabilities(row, data.target);
    LaneSum<kExact> loss_sum;
    LaneSum<kExact> mass_sum;
    if (row.stats().valid) {
      for (size_t c = 0; c < classes_; ++c) {
        const double m = mass(c);
        if (m == 0.0) continue;
        mass_sum.Add(c, m);
        loss_sum.Add(c, m * row.Below(c));
      }
    }
    const double total = mass_sum.Total();
    StoreLoss(slab, at, row.stats().valid ? loss_sum.Total() + total * row.stats().log_norm : kNaN);
    if (context_.class_sums != nullptr) AddWeightTerms(row, scale, share);
    if (data.grad_target != nullptr) TargetGradient(row, scale, data.grad_target);
    if (data.grad_input == nullptr) return;
    if (!row.stats().valid) return FillNaN<T>(data.grad_input);
    MassGradient(row, total, scale, data.grad_input, mass);
  }

  /// The class of a probability target is its greatest entry, the lowest index among equals.
  void CountProbabilities(const Row<T>& row, const std::byte* target) {
    size_t best = 0;
    double greatest = -std::numeric_limits<double>::infinity();
    for (size_t c = 0; c < classes_; ++c) {
      const double t = Widen(LoadRaw<P>(target + c * sizeof(P)));
      if (t > greatest) {
        greatest = t;
        best = c;
      }
    }
    Count(row, best);
  }

  template <typename Element>
  void FillNaN(std::byte* to) const {
    for (size_t c = 0; c < classes_; ++c) Store<Element>(to, static_cast<int64_t>(c), kNaN);
  }

  /// own x (p_c - [c = y]); the target's own entry is minus the sum of the others.
  void SharpGradient(const Row<T>& row, size_t label, double own, std::byte* to) const {
    const double factor = own / row.Norm();
    for (size_t c = 0; c < classes_; ++c) {
      Store<T>(to, static_cast<int64_t>(c), row.TimesExp(factor, c));
    }
    Store<T>(to, static_cast<int64_t>(label), -row.TimesOthers(factor, label));
  }

  /// scale x (total p_c - m_c).
  template <typename Mass>
  void MassGradient(const Row<T>& row, double total, double scale, std::byte* to,
                    const Mass& mass) const {
    const double norm = row.Norm();
    for (size_t c = 0; c < classes_; ++c) {
      const double p = row.TimesExp(1.0, c) / norm;
      Store<T>(to, static_cast<int64_t>(c), scale * (total * p - mass(c)));
    }
  }

  /// d/dt_c = scale (1 - e) w_c (-l_c); a zero factor gives zero even at a logit of -inf.
  void TargetGradient(const Row<T>& row, double scale, std::byte* to) const {
    if (!row.stats().valid) return FillNaN<P>(to);
    for (size_t c = 0; c < classes_; ++c) {
      const double factor = sharp_ * plan_.WeightOf(static_cast<int64_t>(c));
      const double value = factor == 0.0 ? 0.0 : scale * (factor * row.NegativeLog(c));
      Store<P>(to, static_cast<int64_t>(c), value);
    }
  }

  /// scale u_c (-l_c) for every class, to the sums of the weight gradient.
  template <typename Share>
  void AddWeightTerms(const Row<T>& row, double scale, const Share& share) const {
    for (size_t c = 0; c < classes_; ++c) {
      const double u = share(c);
      const double log = row.stats().valid ? row.NegativeLog(c) : kNaN;
      terms_[c] = u == 0.0 ? 0.0 : scale * (u * log);
    }
    context_.class_sums->AddRow(terms_);
  }

  const RowContext& context_;
  Scratch* scratch_;
  const FloatRowKernels kernels_;
  const Plan& plan_;
  RowTotals* totals_;
  ExactSum<Loss>& loss_sum_;
  size_t classes_;
  double smooth_;  ///< e / C
  double sharp_;   ///< 1 - e
  double* exponentials_ = nullptr;
  double* terms_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROW_EVALUATOR_INL_H_
