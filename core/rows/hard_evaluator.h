// One row whose mass lies on one class, a class index without smoothing: which passes serve it, its
// loss, counts and gradients.
#ifndef LOSSD_CORE_ROWS_HARD_EVALUATOR_H_
#define LOSSD_CORE_ROWS_HARD_EVALUATOR_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/buffer.h"
#include "core/labels/labels.h"
#include "core/passes/row_kernels.h"
#include "core/problem/plan.h"
#include "core/rows/great_row.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"
#include "core/simd/math.h"
#include "core/sums/summary.h"

namespace lossd {

/// Evaluates rows of storage type T.
template <typename T>
class HardEvaluator {
 public:
  HardEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        plan_(*context.plan),
        kernels_(KernelsOf<T>(plan_)),
        outputs_(context, totals),
        classes_(static_cast<size_t>(plan_.classes())),
        greatest_weight_(GreatestWeight(classes_)) {
    exponentials_ = GrowDoubles(&scratch->exponentials, classes_);
    if (plan_.outputs().grad_input && classes_ <= kKeptClasses) {
      const size_t bytes = 2 * kRowsTogether * KeptStep(classes_) * sizeof(float);
      if (scratch->kept.size() < bytes) scratch->kept = Buffer(bytes);
      kept_ = reinterpret_cast<float*>(scratch->kept.data());  // NOLINT(*-cast)
    }
    due_.stream = context.stream_gradients;
    late_ = due_.stream && classes_ * sizeof(T) >= kLateBytes;
  }

  /// Writes the gradients that Evaluate has left for later.
  void Flush() {
    if (due_.count > 0) kernels_.kept_gradients(due_, classes_);
    due_.count = 0;
  }

  /// Evaluates `count` rows, the first of which is position `at` of the slab. Their gradients are
  /// complete after a Flush.
  void Evaluate(const RowData* rows, size_t count, const Slab& slab, int64_t at) {
    const bool in_float = !std::is_same_v<T, double> && classes_ > kMaxTileClasses;
    Group group;
    for (size_t i = 0; i < count; ++i) {
      const int64_t position = at + static_cast<int64_t>(i);
      const int64_t label = context_.labels->At(slab.first_position + position);
      if (label < 0 && slab.log_sum_exp == nullptr) {
        outputs_.StoreIgnored(rows[i], slab, position);
      } else if (in_float) {
        group.Add(rows[i], label, position);
        if (group.size == kRowsTogether) EvaluateGroup(&group, slab);
      } else {
        EvaluateWide(label, rows[i], slab, position);
      }
    }
    if (group.size > 0) EvaluateGroup(&group, slab);
  }

 private:
  /// Rows that are analyzed together.
  struct Group {
    size_t size = 0;
    const std::byte* inputs[kRowsTogether];
    const RowData* rows[kRowsTogether];
    int64_t labels[kRowsTogether];
    int64_t positions[kRowsTogether];
    void Add(const RowData& row, int64_t label, int64_t position) {
      inputs[size] = row.input;
      rows[size] = &row;
      labels[size] = label;
      positions[size++] = position;
    }
  };

  /// Evaluates the rows of `group`, and empties it.
  void EvaluateGroup(Group* group, const Slab& slab) {
    FloatRowStats stats[kRowsTogether];
    // The other half holds the exponentials of the gradients that are due.
    const size_t step = KeptStep(classes_);
    if (late_) kept_half_ ^= 1U;
    float* const group_kept =
        kept_ == nullptr ? nullptr : kept_ + kept_half_ * kRowsTogether * step;
    kernels_.analyze(group->inputs, group->size, classes_, group_kept, &due_, stats);
    due_.count = 0;
    for (size_t i = 0; i < group->size; ++i) {
      const RowData& row = *group->rows[i];
      const float* kept = group_kept == nullptr ? nullptr : group_kept + i * step;
      if (!EvaluateFloat(stats[i], kept, group->labels[i], row, slab, group->positions[i])) {
        EvaluateWide(group->labels[i], row, slab, group->positions[i]);
      }
    }
    group->size = 0;
    if (!late_) Flush();
  }

  /// False, with nothing written, if the row needs the passes in double. `kept` may be null.
  bool EvaluateFloat(const FloatRowStats& stats, const float* kept, int64_t label,
                     const RowData& data, const Slab& slab, int64_t at) {
    if (!stats.in_range) return false;
    double weight = 0;
    double scale = 0;
    // The factor of exponentials: p_c = exp(x_c) / (exp(max) (1 + tail)).
    double factor = 0;
    if (label >= 0) {
      weight = plan_.WeightOf(label);
      scale = outputs_.ScaleAt(slab, at);
      factor = weight * scale / ((1.0 + stats.tail) * stats.max_mantissa) * kExponentialScale;
      if (!(std::abs(weight) <= greatest_weight_)) return false;
      if (data.grad_input != nullptr && !FactorFits(factor)) return false;
    }
    const auto max = static_cast<double>(stats.max);
    outputs_.StoreLogSumExp(slab, at, max + stats.log_norm);
    if (label < 0) {
      outputs_.StoreIgnored(data, slab, at);
      return true;
    }
    const auto y = static_cast<size_t>(label);
    const double difference = RowOutputs<T>::LogitAt(data.input, y) - max;
    const bool top = difference == 0.0;
    // Searches for an earlier class that has the maximum too only if the label has it.
    const bool first = top && kernels_.find(data.input, y + 1, stats.max) == y;
    outputs_.Count(first, data.input, y);
    const double negative_log = stats.log_norm - difference;
    outputs_.StoreLoss(slab, at, weight == 0.0 ? 0.0 : weight * negative_log);
    if (context_.class_sums != nullptr) context_.class_sums->AddOne(label, scale * negative_log);
    if (data.grad_input == nullptr) return true;
    // The label's entry is minus the sum of the others. A maximum's own term is 1, and no part of
    // the tail.
    const double others = top ? stats.tail : 1.0 + (stats.tail - ExpNonPositive(difference));
    const double own = weight * scale;
    const double entry = WithinLimit(-(own / (1.0 + stats.tail)) * others, own);
    GradientEntries entries = {1, {y}, {entry}};
    // Otherwise the rounding of float32 could take a probability beyond 1.
    if (!top && stats.tail < kSmallTail) AddMaximum(stats, own, data.input, &entries);
    WriteGradient(stats, kept, factor, entries, data);
    return true;
  }

  /// Adds the entry of the maximum's class, which is not the label's, from the tail.
  [[gnu::noinline]] void AddMaximum(const FloatRowStats& stats, double own, const std::byte* x,
                                    GradientEntries* entries) const {
    const size_t top = kernels_.find(x, classes_, stats.max);
    const size_t at = top < entries->at[0] ? 0 : 1;
    entries->at[1 - at] = entries->at[0];
    entries->value[1 - at] = entries->value[0];
    entries->at[at] = top;
    entries->value[at] = own / (1.0 + stats.tail);
    entries->count = 2;
  }

  /// If exponentials are kept and their factor fits, the gradient is written later, from them.
  void WriteGradient(const FloatRowStats& stats, const float* kept, double factor,
                     const GradientEntries& entries, const RowData& data) {
    const double kept_factor = factor * stats.kept_scale;
    if (kept != nullptr && FactorFits(kept_factor)) {
      due_.kept[due_.count] = kept;
      due_.factors[due_.count] = static_cast<float>(kept_factor);
      due_.entries[due_.count] = entries;
      due_.to[due_.count++] = data.grad_input;
      return;
    }
    kernels_.index_gradient(data.input, classes_, stats, static_cast<float>(factor), entries,
                            context_.stream_gradients, data.grad_input);
  }

  /// Evaluates a row by the passes in double.
  void EvaluateWide(int64_t label, const RowData& data, const Slab& slab, int64_t at) {
    const WideRowStats stats = kernels_.analyze_wide(data.input, classes_, exponentials_);
    outputs_.StoreLogSumExp(slab, at, stats.valid ? stats.max + stats.log_norm : kNaN);
    if (label < 0) return outputs_.StoreIgnored(data, slab, at);
    const double scale = outputs_.ScaleAt(slab, at);
    const auto y = static_cast<size_t>(label);
    if (stats.valid) outputs_.Count(stats.argmax == label, data.input, y);
    const double weight = plan_.WeightOf(label);
    const double logit = RowOutputs<T>::LogitAt(data.input, y);
    double loss = kNaN;
    if (stats.valid) loss = weight == 0.0 ? 0.0 : TimesNegativeLog<T>(stats, weight, logit);
    outputs_.StoreLoss(slab, at, loss);
    if (context_.class_sums != nullptr) {
      const double term = stats.valid ? TimesNegativeLog<T>(stats, scale, logit) : kNaN;
      context_.class_sums->AddOne(label, term);
    }
    if (data.grad_input == nullptr) return;
    if (!stats.valid) return outputs_.template FillNaN<T>(data.grad_input);
    WriteWideGradient(stats, y, weight, scale, data.grad_input);
  }

  /// Writes own x (p_c - [c = y]). The label's own entry is minus the sum of the others.
  void WriteWideGradient(const WideRowStats& stats, size_t label, double weight, double scale,
                         std::byte* to) const {
    const double own = weight * scale;
    if constexpr (std::is_same_v<T, double>) {
      if (!std::isfinite(own)) {
        return GreatRow(stats, exponentials_, classes_).HardGradient(label, weight, scale, to);
      }
    }
    const double factor = own / NormOf<T>(stats);
    kernels_.scale_wide(exponentials_, classes_, factor, to);
    const bool top = static_cast<int64_t>(label) == stats.argmax;
    const double others = top ? stats.tail : kWideScale<T> + (stats.tail - exponentials_[label]);
    RowOutputs<T>::template Store<T>(to, static_cast<int64_t>(label),
                                     WithinLimit(-Unscale<T>(factor, others), own));
  }

  const RowContext& context_;
  const Plan& plan_;
  const RowKernels& kernels_;
  RowOutputs<T> outputs_;
  size_t classes_;
  double greatest_weight_;
  double* exponentials_ = nullptr;
  float* kept_ = nullptr;  ///< Room for two groups.
  size_t kept_half_ = 0;
  bool late_ = false;  ///< Whether gradients are left to the next group.
  KeptGradients due_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_HARD_EVALUATOR_H_
