// Walks over rows, contiguous or strided, and gives each to an evaluator.
#ifndef LOSSD_CORE_ROWS_ROW_WALK_H_
#define LOSSD_CORE_ROWS_ROW_WALK_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/passes/row_kernels.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"
#include "core/rows/strided_tile.h"

namespace lossd {

/// Pointers to an element of the slab.
template <typename T, typename P>
RowData DataAt(const Slab& slab, size_t element) {
  const auto offset = [&](auto* base, size_t size) {
    return base == nullptr ? nullptr : base + element * size;
  };
  return {offset(slab.input, sizeof(T)), offset(slab.target, sizeof(P)),
          offset(slab.grad_input, sizeof(T)), offset(slab.grad_target, sizeof(P))};
}

/// Contiguous classes: evaluates rows in place.
template <typename T, typename P, typename Evaluator>
void EvaluateContiguous(Evaluator* evaluator, const Plan& plan, const Slab& slab, int64_t begin,
                        int64_t end) {
  const auto classes = static_cast<size_t>(plan.classes());
  const auto together = static_cast<int64_t>(RowsTogether(classes * sizeof(T)));
  for (int64_t at = begin; at < end; at += together) {
    RowData rows[kRowsTogether];
    const auto count = static_cast<size_t>(std::min(together, end - at));
    for (size_t i = 0; i < count; ++i) {
      rows[i] = DataAt<T, P>(slab, (static_cast<size_t>(at) + i) * classes);
    }
    evaluator->Evaluate(rows, count, slab, at);
  }
  evaluator->Flush();
}

/// Strided classes: transposes tiles of positions into rows, evaluates these, and transposes back.
template <typename T, typename P, typename Evaluator>
void EvaluateStrided(const RowContext& context, Evaluator* evaluator, const Slab& slab,
                     int64_t begin, int64_t end, Scratch* scratch) {
  const Plan& plan = *context.plan;
  const int64_t inner = plan.inner();
  const StridedTile<T, P> tile(plan, slab, scratch);
  for (int64_t at = begin; at < end;) {
    const int64_t within = at % inner;
    const int64_t count = std::min({tile.positions(), inner - within, end - at});
    const auto element = static_cast<size_t>((at / inner) * plan.classes() * inner + within);
    tile.Gather(slab, element, static_cast<size_t>(count));
    RowData rows[kStridedPositions];
    for (int64_t i = 0; i < count; ++i) rows[i] = tile.Row(i);
    evaluator->Evaluate(rows, static_cast<size_t>(count), slab, at);
    evaluator->Flush();
    tile.Scatter(slab, element, static_cast<size_t>(count), context.stream_gradients);
    at += count;
  }
}

template <typename T, typename P, typename Evaluator>
void EvaluateEach(const RowContext& context, Evaluator* evaluator, const Slab& slab, int64_t begin,
                  int64_t end, Scratch* scratch) {
  if (context.plan->inner() == 1) {
    return EvaluateContiguous<T, P>(evaluator, *context.plan, slab, begin, end);
  }
  EvaluateStrided<T, P>(context, evaluator, slab, begin, end, scratch);
}

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_ROW_WALK_H_
