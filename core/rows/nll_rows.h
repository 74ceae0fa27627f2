// Rows of the negative log-likelihood: the loss is one log-probability, -w_y x_y.
#ifndef LOSSD_CORE_ROWS_NLL_ROWS_H_
#define LOSSD_CORE_ROWS_NLL_ROWS_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/buffer.h"
#include "core/labels/labels.h"
#include "core/passes/row_kernels.h"
#include "core/problem/nll_loss.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"
#include "core/rows/row_walk.h"
#include "core/sums/class_sums.h"
#include "core/sums/summary.h"

namespace lossd {

/// Evaluates rows of storage type T.
template <typename T>
class NllEvaluator {
 public:
  NllEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        plan_(*context.plan),
        kernels_(KernelsOf<T>(plan_)),
        outputs_(context, totals),
        classes_(static_cast<size_t>(plan_.classes())) {
    if (plan_.outputs().log_sum_exp) {
      exponentials_ = GrowDoubles(&scratch->exponentials, classes_);
    }
  }

  /// Does nothing: Evaluate completes its rows.
  void Flush() const {}

  /// Evaluates `count` rows, the first of which is position `at` of the slab.
  void Evaluate(const RowData* rows, size_t count, const Slab& slab, int64_t at) {
    for (size_t i = 0; i < count; ++i) EvaluateOne(rows[i], slab, at + static_cast<int64_t>(i));
  }

 private:
  void EvaluateOne(const RowData& data, const Slab& slab, int64_t at) {
    if (slab.log_sum_exp != nullptr) {
      const WideRowStats stats = kernels_.analyze_wide(data.input, classes_, exponentials_);
      outputs_.StoreLogSumExp(slab, at, stats.valid ? stats.max + stats.log_norm : kNaN);
    }
    const int64_t label = context_.labels->At(slab.first_position + at);
    if (label < 0) return outputs_.StoreIgnored(data, slab, at);
    const auto y = static_cast<size_t>(label);
    const double x = RowOutputs<T>::LogitAt(data.input, y);
    const double weight = plan_.WeightOf(label);
    // A zero weight gives zero, even for a log-probability of -inf; zeros are +0.
    const double loss = weight == 0.0 ? 0.0 : 0.0 - weight * x;
    outputs_.StoreLoss(slab, at, std::isnan(loss) ? kNaN : loss);
    outputs_.CountByRank(data.input, y);
    const double scale = outputs_.ScaleAt(slab, at);
    if (context_.class_sums != nullptr) context_.class_sums->AddOne(label, 0.0 - scale * x);
    if (data.grad_input == nullptr) return;
    // The gradient may overwrite the log-probabilities.
    std::memset(data.grad_input, 0, classes_ * sizeof(T));
    RowOutputs<T>::template Store<T>(data.grad_input, label, 0.0 - weight * scale);
  }

  const RowContext& context_;
  const Plan& plan_;
  const RowKernels& kernels_;
  RowOutputs<T> outputs_;
  size_t classes_;
  double* exponentials_ = nullptr;
};

/// Evaluates rows of storage type T; see EvaluateRows.
template <typename T>
void EvaluateKind(const NllLoss& /*kind*/, const RowContext& context, const Slab& slab,
                  int64_t begin, int64_t end, RowTotals* totals, Scratch* scratch) {
  NllEvaluator<T> evaluator(context, totals, scratch);
  EvaluateEach<T, T>(context, &evaluator, slab, begin, end, scratch);
}

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_NLL_ROWS_H_
