// Rows of cross-entropy with hard or soft targets, in tiles if classes are few.
#ifndef LOSSD_CORE_ROWS_CROSS_ENTROPY_ROWS_H_
#define LOSSD_CORE_ROWS_CROSS_ENTROPY_ROWS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/passes/row_kernels.h"
#include "core/problem/cross_entropy.h"
#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/rows/hard_evaluator.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"
#include "core/rows/row_walk.h"
#include "core/rows/soft_evaluator.h"
#include "core/rows/tile_evaluator.h"
#include "core/sums/summary.h"

namespace lossd {

/// Evaluates few classes in tiles of positions, contiguous or strided; positions that tiles do not
/// serve are evaluated one by one.
template <typename T, typename P, typename Evaluator>
void EvaluateTiles(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                   RowTotals* totals, Scratch* scratch) {
  RowContext one = context;
  one.stream_gradients = false;
  Evaluator evaluator(one, totals, scratch);
  TileEvaluator<T, P> tiles(context, totals, scratch);
  const auto evaluate_one = [&](int64_t at) {
    EvaluateEach<T, P>(one, &evaluator, slab, at, at + 1, scratch);
  };
  const Plan& plan = *context.plan;
  const int64_t inner = plan.inner();
  const auto classes = static_cast<size_t>(plan.classes());
  const auto most = static_cast<int64_t>(TilePositions(classes));
  TileLayout layout{classes, 0, static_cast<size_t>(inner), inner == 1 ? classes : 1};
  for (int64_t at = begin; at < end; at += static_cast<int64_t>(layout.count)) {
    const int64_t within = at % inner;
    const int64_t row_end = inner == 1 ? end : std::min(end, at - within + inner);
    layout.count = static_cast<size_t>(std::min(most, row_end - at));
    const size_t element = static_cast<size_t>(at - within) * classes + static_cast<size_t>(within);
    tiles.Evaluate(DataAt<T, P>(slab, element), slab, at, layout, evaluate_one);
  }
}

/// Evaluates rows by `Evaluator`, or in tiles if they serve the plan.
template <typename T, typename P, typename Evaluator>
void EvaluateRange(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                   RowTotals* totals, Scratch* scratch) {
  if constexpr (!std::is_same_v<T, double>) {
    if (TileEvaluator<T, P>::Serves(*context.plan)) {
      return EvaluateTiles<T, P, Evaluator>(context, slab, begin, end, totals, scratch);
    }
  }
  // Gradients of strided classes are written to rows of a tile first, so not by non-temporal
  // stores.
  RowContext rows = context;
  rows.stream_gradients = context.stream_gradients && context.plan->inner() == 1;
  Evaluator evaluator(rows, totals, scratch);
  EvaluateEach<T, P>(context, &evaluator, slab, begin, end, scratch);
}

/// Evaluates rows of storage type T; see EvaluateRows.
template <typename T>
void EvaluateKind(const CrossEntropy& /*kind*/, const RowContext& context, const Slab& slab,
                  int64_t begin, int64_t end, RowTotals* totals, Scratch* scratch) {
  if (HasHardTargets(*context.plan)) {
    return EvaluateRange<T, T, HardEvaluator<T>>(context, slab, begin, end, totals, scratch);
  }
  const auto run = [&](auto target_type) {
    using P = decltype(target_type);
    EvaluateRange<T, P, SoftEvaluator<T, P>>(context, slab, begin, end, totals, scratch);
  };
  // A probability target has the input's type, or float32 if the input is of a half type.
  if (context.plan->target().dtype == DType::kFloat32) return run(float{});
  run(T{});
}

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_CROSS_ENTROPY_ROWS_H_
