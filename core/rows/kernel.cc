#include "core/rows/kernel.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "absl/cleanup/cleanup.h"
#include "core/buffer.h"
#include "core/passes/row_kernels.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/rows/hard_evaluator.h"
#include "core/rows/row_outputs.h"
#include "core/rows/soft_evaluator.h"
#include "core/rows/strided_tile.h"
#include "core/rows/tile_evaluator.h"
#include "hwy/cache_control.h"

namespace lossd {
namespace {

/// Pointers to an element of the slab.
template <typename T, typename P>
RowData DataAt(const Slab& slab, size_t element) {
  const auto offset = [&](auto* base, size_t size) {
    return base == nullptr ? nullptr : base + element * size;
  };
  return {offset(slab.input, sizeof(T)), offset(slab.target, sizeof(P)),
          offset(slab.grad_input, sizeof(T)), offset(slab.grad_target, sizeof(P))};
}

/// Classes contiguous: rows are evaluated where they lie.
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

/// Classes strided: tiles of positions are transposed into rows, evaluated, and transposed back.
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

/// Rows one by one.
template <typename T, typename P, typename Evaluator>
void EvaluateEach(const RowContext& context, Evaluator* evaluator, const Slab& slab, int64_t begin,
                  int64_t end, Scratch* scratch) {
  if (context.plan->inner() == 1) {
    return EvaluateContiguous<T, P>(evaluator, *context.plan, slab, begin, end);
  }
  EvaluateStrided<T, P>(context, evaluator, slab, begin, end, scratch);
}

/// Few classes: tiles of positions, wherever their classes lie; what a tile leaves, by itself.
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

/// Rows of the evaluator's kind, in tiles where those serve.
template <typename T, typename P, typename Evaluator>
void EvaluateRange(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                   RowTotals* totals, Scratch* scratch) {
  if constexpr (!std::is_same_v<T, double>) {
    if (TileEvaluator<T, P>::Serves(*context.plan)) {
      return EvaluateTiles<T, P, Evaluator>(context, slab, begin, end, totals, scratch);
    }
  }
  // Rows of strided classes are written to a tile first: not past the caches.
  RowContext rows = context;
  rows.stream_gradients = context.stream_gradients && context.plan->inner() == 1;
  Evaluator evaluator(rows, totals, scratch);
  EvaluateEach<T, P>(context, &evaluator, slab, begin, end, scratch);
}

/// The scratch that StridedTile takes, for a row type and a target type chosen at run time.
uint64_t StridedBytes(const Plan& plan) {
  uint64_t bytes = 0;
  WithFloatingType(plan.input().dtype, [&](auto input_type) {
    using T = decltype(input_type);
    bytes = plan.target().dtype == DType::kFloat32 ? StridedTile<T, float>::Bytes(plan)
                                                   : StridedTile<T, T>::Bytes(plan);
  });
  return bytes;
}

}  // namespace

size_t Scratch::bytes() const {
  return exponentials.size() + terms.size() + strided.size() + kept.size() +
         (tile == nullptr ? 0 : sizeof(FloatTile));
}

double* GrowDoubles(Buffer* buffer, size_t count) {
  if (buffer->size() < count * sizeof(double)) *buffer = Buffer(count * sizeof(double));
  return reinterpret_cast<double*>(buffer->data());  // NOLINT(*-reinterpret-cast)
}

uint64_t ScratchBytes(const Plan& plan) {
  const uint64_t row = static_cast<uint64_t>(plan.classes()) * sizeof(double);
  const uint64_t terms = plan.outputs().grad_weight && !HasHardTargets(plan) ? row : 0;
  return row + terms + (plan.inner() > 1 ? StridedBytes(plan) : 0);
}

void EvaluateRows(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                  RowTotals* totals, Scratch* scratch) {
  const Plan& plan = *context.plan;
  // The scratch of great rows is charged to their request, and ends with its task.
  const absl::Cleanup shrink = [scratch] {
    if (scratch->bytes() > kKeptScratchBytes) *scratch = Scratch();
  };
  WithFloatingType(plan.input().dtype, [&](auto input_type) {
    using T = decltype(input_type);
    if (HasHardTargets(plan)) {
      return EvaluateRange<T, T, HardEvaluator<T>>(context, slab, begin, end, totals, scratch);
    }
    const auto run = [&](auto target_type) {
      using P = decltype(target_type);
      EvaluateRange<T, P, SoftEvaluator<T, P>>(context, slab, begin, end, totals, scratch);
    };
    // A probability target has the input's type, or float32 beside a half.
    if (plan.target().dtype == DType::kFloat32) return run(float{});
    return run(T{});
  });
  // Streaming stores wait for nobody: who is told that the range is done must see them.
  if (context.stream_gradients) hwy::FlushStream();
}

}  // namespace lossd
