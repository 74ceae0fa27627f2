// One row whose mass lies on many classes, a smoothed class index or probabilities: which passes
// serve it, its loss, counts and gradients.
#ifndef LOSSD_CORE_ROWS_SOFT_EVALUATOR_H_
#define LOSSD_CORE_ROWS_SOFT_EVALUATOR_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/labels/labels.h"
#include "core/passes/row_kernels.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/rows/great_row.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"
#include "core/simd/math.h"
#include "core/sums/summary.h"

namespace lossd {

/// Evaluates rows of storage type T (input) and P (probability target).
template <typename T, typename P>
class SoftEvaluator {
 public:
  SoftEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        plan_(*context.plan),
        kernels_(KernelsOf<P>(plan_)),
        outputs_(context, totals),
        index_(context.labels != nullptr),
        classes_(static_cast<size_t>(plan_.classes())),
        weight_(plan_.weight().empty() ? nullptr : plan_.weight().data()),
        smooth_(plan_.criterion().label_smoothing() / static_cast<double>(plan_.classes())),
        unsmoothed_(1.0 - plan_.criterion().label_smoothing()),
        greatest_mass_(GreatestWeight(classes_)) {
    exponentials_ = GrowDoubles(&scratch->exponentials, classes_);
    if (context.class_sums != nullptr) terms_ = GrowDoubles(&scratch->terms, classes_);
  }

  /// Does nothing: Evaluate completes its rows.
  void Flush() const {}

  /// Evaluates `count` rows, the first of which is position `at` of the slab.
  void Evaluate(const RowData* rows, size_t count, const Slab& slab, int64_t at) {
    for (size_t i = 0; i < count; ++i) EvaluateOne(rows[i], slab, at + static_cast<int64_t>(i));
  }

 private:
  void EvaluateOne(const RowData& data, const Slab& slab, int64_t at) {
    Row row;
    row.label = index_ ? context_.labels->At(slab.first_position + at) : 0;
    const bool ignored = row.label < 0;
    if (ignored && slab.log_sum_exp == nullptr) return outputs_.StoreIgnored(data, slab, at);
    row.scale = outputs_.ScaleAt(slab, at);
    if (index_ && !ignored) row.own = unsmoothed_ * plan_.WeightOf(row.label);
    if (!AnalyzeFloat(data, &row)) AnalyzeWide(data, &row);
    const bool valid = row.stats.valid;
    outputs_.StoreLogSumExp(slab, at, valid ? row.stats.max + row.stats.log_norm : kNaN);
    if (ignored) return outputs_.StoreIgnored(data, slab, at);
    if (valid) {
      outputs_.Count(row.stats.argmax == row.label, data.input, static_cast<size_t>(row.label));
    }
    outputs_.StoreLoss(slab, at, valid ? LossOf(row, data) : kNaN);
    if (context_.class_sums != nullptr) AddTerms(row, data);
    if (data.grad_target != nullptr) WriteTargetGradient(row, data);
    if (data.grad_input == nullptr) return;
    if (!valid) return outputs_.template FillNaN<T>(data.grad_input);
    WriteGradient(row, data);
  }

  /// Facts about a row.
  struct Row {
    int64_t label = 0;  ///< The class index; with probabilities the class of the largest.
    double scale = 0;
    double own = 0;  ///< The mass of a class index without the part that smoothing spreads.
    bool in_float = false;
    FloatRowStats float_stats;  ///< Set if in_float.
    WideRowStats stats;
    double below = 0;   ///< Sum of spread m_c (max - x_c).
    double spread = 0;  ///< Sum of the masses without `own`.
    [[nodiscard]] double total() const { return own + spread; }
  };

  [[nodiscard]] MassSource MassesOf(const RowData& data) const {
    return {data.target, weight_, unsmoothed_, smooth_};
  }

  /// False if the row needs the passes in double.
  bool AnalyzeFloat(const RowData& data, Row* row) const {
    if constexpr (std::is_same_v<T, double>) {
      return false;
    } else {
      const SoftRowStats soft = kernels_.analyze_soft(data.input, classes_, MassesOf(data));
      if (!soft.row.in_range) return false;
      row->below = soft.below;
      row->spread = index_ ? smooth_ * plan_.weight_sum() : soft.total;
      // The stand-in for exp(-inf) must vanish; NaN fails the comparison.
      if (!(std::abs(row->total()) <= greatest_mass_)) return false;
      const FloatRowStats& found = row->float_stats = soft.row;
      row->stats = {static_cast<double>(found.max), found.tail, found.log_norm, soft.argmax, true};
      if (!index_) row->label = soft.target_argmax;
      if (data.grad_input != nullptr && !(std::abs(Factor(*row)) < kGreatestFactor)) return false;
      row->in_float = true;
      return true;
    }
  }

  void AnalyzeWide(const RowData& data, Row* row) const {
    row->stats = kernels_.analyze_wide(data.input, classes_, exponentials_);
    if (!row->stats.valid) return;
    if (!index_) row->label = GreatestProbability(data.target);
    if (index_) {
      // The masses of all positions are spread alike, so their sum is taken with its full accuracy.
      double unused = 0;
      row->below = smooth_ * kernels_.sum_masses(data.input, classes_, row->stats.max,
                                                 {nullptr, weight_, 1, 1}, &unused);
      row->spread = smooth_ * plan_.weight_sum();
    } else {
      row->below =
          kernels_.sum_masses(data.input, classes_, row->stats.max, MassesOf(data), &row->spread);
    }
  }

  /// The class of the largest probability: the lowest index among equals; NaN is none.
  [[nodiscard]] int64_t GreatestProbability(const std::byte* target) const {
    size_t best = 0;
    double greatest = -std::numeric_limits<double>::infinity();
    for (size_t c = 0; c < classes_; ++c) {
      const double t = Widen(LoadRaw<P>(target + c * sizeof(P)));
      if (t > greatest) {
        greatest = t;
        best = c;
      }
    }
    return static_cast<int64_t>(best);
  }

  [[nodiscard]] double LogitAt(const RowData& data, int64_t c) const {
    return RowOutputs<T>::LogitAt(data.input, static_cast<size_t>(c));
  }

  [[nodiscard]] double PlainLossOf(const Row& row, const RowData& data) const {
    const double spread = row.below + row.spread * row.stats.log_norm;
    if (!index_) return spread;
    const double own =
        row.own == 0.0 ? 0.0 : TimesNegativeLog<T>(row.stats, row.own, LogitAt(data, row.label));
    return own + spread;
  }

  /// Evaluates again if a result has left double's range; only float64 can.
  template <typename Function>
  void AgainIfNot(bool finite, const Row& row, const Function& function) const {
    if constexpr (std::is_same_v<T, double>) {
      if (!finite) function(GreatRow(row.stats, exponentials_, classes_));
    }
  }
  [[nodiscard]] int64_t LabelOf(const Row& row) const {
    return index_ ? row.label : GreatRow::kNoLabel;
  }

  [[nodiscard]] double LossOf(const Row& row, const RowData& data) const {
    double loss = PlainLossOf(row, data);
    AgainIfNot(std::isfinite(loss), row, [&](const GreatRow& great) {
      loss = great.Loss(data.input, MassesOf(data), LabelOf(row));
    });
    return loss;
  }

  void AddTerms(const Row& row, const RowData& data) const {
    bool finite =
        kernels_.weight_terms(data.input, classes_, row.stats, row.scale, MassesOf(data), terms_);
    if (index_) {
      const WideRowStats& stats = row.stats;
      const double log =
          stats.valid ? (stats.max - LogitAt(data, row.label)) + stats.log_norm : kNaN;
      const double share = unsmoothed_ + smooth_;
      terms_[row.label] = share == 0.0 ? 0.0 : row.scale * (share * log);
      finite = finite && std::isfinite(terms_[row.label]);
    }
    AgainIfNot(finite || !row.stats.valid, row, [&](const GreatRow& great) {
      great.WeightTerms(data.input, row.scale, MassesOf(data), LabelOf(row), terms_);
    });
    context_.class_sums->AddRow(terms_);
  }

  /// The factor of exponentials in the passes in float32.
  [[nodiscard]] double Factor(const Row& row) const {
    return row.scale * row.total() / (NormOf<T>(row.stats) * row.float_stats.max_mantissa) *
           kExponentialScale;
  }

  void WriteGradient(const Row& row, const RowData& data) const {
    const GradientEntries entries = EntriesOf(row, data);
    if (row.in_float) {
      return kernels_.soft_gradient(data.input, classes_, row.float_stats, Factor(row), row.scale,
                                    MassesOf(data), entries, context_.stream_gradients,
                                    data.grad_input);
    }
    bool finite = kernels_.mass_gradient(exponentials_, classes_, row.total(), NormOf<T>(row.stats),
                                         row.scale, MassesOf(data), data.grad_input);
    for (size_t i = 0; i < entries.count; ++i) {
      finite = finite && std::isfinite(entries.value[i]);
      RowOutputs<T>::template Store<T>(data.grad_input, static_cast<int64_t>(entries.at[i]),
                                       entries.value[i]);
    }
    AgainIfNot(finite, row, [&](const GreatRow& great) {
      great.InputGradient(row.scale, MassesOf(data), LabelOf(row), data.grad_input);
    });
  }

  void WriteTargetGradient(const Row& row, const RowData& data) const {
    if (!row.stats.valid) return outputs_.template FillNaN<P>(data.grad_target);
    const bool finite = kernels_.target_gradient(data.input, classes_, row.stats, row.scale,
                                                 MassesOf(data), data.grad_target);
    AgainIfNot(finite, row, [&](const GreatRow& great) {
      great.TargetGradient(data.input, row.scale, MassesOf(data), data.grad_target);
    });
  }

  /// scale (total p_c - m_c) for the maximum's class and the label. The maximum's p may be near 1,
  /// where an error of an ulp is largest; 1 - p, from the tail, is then small and as exact.
  [[nodiscard]] GradientEntries EntriesOf(const Row& row, const RowData& data) const {
    const auto top = static_cast<size_t>(row.stats.argmax);
    const auto label = static_cast<size_t>(row.label);
    const double norm = NormOf<T>(row.stats);
    double mass = SpreadMass(data, top);
    if (index_ && label == top) mass += row.own;
    const double rest = row.total() * (Unscale<T>(1.0, row.stats.tail) / norm);
    const double top_entry = row.scale * ((row.total() - mass) - rest);
    if (!index_ || label == top) return {1, {top}, {top_entry}};
    const double exponential = row.in_float
                                   ? ExpNonPositive(LogitAt(data, row.label) - row.stats.max)
                                   : Unscale<T>(1.0, exponentials_[label]);
    const double own_entry =
        row.scale * std::fma(row.total(), exponential / norm, -(row.own + SpreadMass(data, label)));
    if (label < top) return {2, {label, top}, {own_entry, top_entry}};
    return {2, {top, label}, {top_entry, own_entry}};
  }

  /// m_c; for a class index without its own mass.
  [[nodiscard]] double SpreadMass(const RowData& data, size_t c) const {
    double mass = smooth_;
    if (!index_) {
      mass = std::fma(unsmoothed_, Widen(LoadRaw<P>(data.target + c * sizeof(P))), smooth_);
    }
    return plan_.WeightOf(static_cast<int64_t>(c)) * mass;
  }

  const RowContext& context_;
  const Plan& plan_;
  const RowKernels& kernels_;
  RowOutputs<T> outputs_;
  bool index_;  ///< Whether the target is a class index.
  size_t classes_;
  const double* weight_;  ///< Null: all 1.
  double smooth_;         ///< e / C
  double unsmoothed_;     ///< 1 - e
  double greatest_mass_;
  double* exponentials_ = nullptr;
  double* terms_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_SOFT_EVALUATOR_H_
