#include "core/kernel.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/load.h"
#include "core/plan.h"
#include "core/row_evaluator-inl.h"
#include "core/row_kernels.h"
#include "core/tile_evaluator-inl.h"
#include "hwy/cache_control.h"

namespace lossd {
namespace {

/// Classes contiguous: rows are evaluated where they lie.
template <typename T, typename P>
void EvaluateContiguous(RowEvaluator<T, P>* evaluator, const Plan& plan, const Slab& slab,
                        int64_t begin, int64_t end) {
  const auto classes = static_cast<size_t>(plan.classes());
  for (int64_t at = begin; at < end; ++at) {
    const size_t element = static_cast<size_t>(at) * classes;
    const auto offset = [&](auto* base, size_t size) {
      return base == nullptr ? nullptr : base + element * size;
    };
    evaluator->Evaluate({offset(slab.input, sizeof(T)), offset(slab.target, sizeof(P)),
                         offset(slab.grad_input, sizeof(T)), offset(slab.grad_target, sizeof(P))},
                        slab, at);
  }
}

/// Positions that are gathered at once where classes are strided: a cache line of float32.
constexpr int64_t kTilePositions = 16;

/// Moves `count` positions of a sample between memory, where classes are `inner` apart, and a tile,
/// where each position's classes are contiguous.
template <typename T, bool kToTile, typename Memory, typename Tile>
void Transpose(Memory* memory, int64_t inner, int64_t classes, int64_t count, Tile* tile) {
  for (int64_t c = 0; c < classes; ++c) {
    for (int64_t i = 0; i < count; ++i) {
      auto* strided = memory + static_cast<size_t>(c * inner + i) * sizeof(T);
      auto* packed = tile + static_cast<size_t>(i * classes + c) * sizeof(T);
      if constexpr (kToTile) {
        std::memcpy(packed, strided, sizeof(T));
      } else {
        std::memcpy(strided, packed, sizeof(T));
      }
    }
  }
}

/// Classes strided: tiles of a few positions are gathered, evaluated and scattered.
template <typename T, typename P>
void EvaluateStrided(RowEvaluator<T, P>* evaluator, const Plan& plan, const Slab& slab,
                     int64_t begin, int64_t end, Scratch* scratch) {
  const int64_t inner = plan.inner();
  const int64_t classes = plan.classes();
  const auto tile_elements = static_cast<size_t>(kTilePositions * classes);
  scratch->strided.resize(tile_elements * 2 * (sizeof(T) + sizeof(P)));
  std::byte* input = scratch->strided.data();
  std::byte* grad_input = input + tile_elements * sizeof(T);
  std::byte* target = grad_input + tile_elements * sizeof(T);
  std::byte* grad_target = target + tile_elements * sizeof(P);
  for (int64_t at = begin; at < end;) {
    const int64_t within = at % inner;
    const int64_t count = std::min({kTilePositions, inner - within, end - at});
    const auto element = static_cast<size_t>((at / inner) * classes * inner + within);
    Transpose<T, true>(slab.input + element * sizeof(T), inner, classes, count, input);
    if (slab.target != nullptr) {
      Transpose<P, true>(slab.target + element * sizeof(P), inner, classes, count, target);
    }
    for (int64_t i = 0; i < count; ++i) {
      const auto offset = static_cast<size_t>(i * classes);
      evaluator->Evaluate(
          {input + offset * sizeof(T),
           slab.target == nullptr ? nullptr : target + offset * sizeof(P),
           slab.grad_input == nullptr ? nullptr : grad_input + offset * sizeof(T),
           slab.grad_target == nullptr ? nullptr : grad_target + offset * sizeof(P)},
          slab, at + i);
    }
    if (slab.grad_input != nullptr) {
      Transpose<T, false>(slab.grad_input + element * sizeof(T), inner, classes, count, grad_input);
    }
    if (slab.grad_target != nullptr) {
      Transpose<P, false>(slab.grad_target + element * sizeof(P), inner, classes, count,
                          grad_target);
    }
    at += count;
  }
}

/// Few classes: tiles of positions, wherever their classes lie; what a tile leaves, by itself.
template <typename T, typename P>
void EvaluateTiles(const RowContext& context, RowEvaluator<T, P>* evaluator, const Slab& slab,
                   int64_t begin, int64_t end, RowTotals* totals, Scratch* scratch) {
  TileEvaluator<T> tiles(context, totals, scratch);
  const Plan& plan = *context.plan;
  const int64_t inner = plan.inner();
  const auto classes = static_cast<size_t>(plan.classes());
  const auto most = static_cast<int64_t>(TilePositions(classes));
  const auto evaluate_one = [&](int64_t at) {
    if (inner == 1) {
      EvaluateContiguous(evaluator, plan, slab, at, at + 1);
    } else {
      EvaluateStrided(evaluator, plan, slab, at, at + 1, scratch);
    }
  };
  TileLayout layout{classes, 0, static_cast<size_t>(inner), inner == 1 ? classes : 1};
  for (int64_t at = begin; at < end; at += static_cast<int64_t>(layout.count)) {
    const int64_t within = at % inner;
    const int64_t row_end = inner == 1 ? end : std::min(end, at - within + inner);
    layout.count = static_cast<size_t>(std::min(most, row_end - at));
    const size_t offset =
        (static_cast<size_t>(at - within) * classes + static_cast<size_t>(within)) * sizeof(T);
    tiles.Evaluate(slab.input + offset,
                   slab.grad_input == nullptr ? nullptr : slab.grad_input + offset, slab, at,
                   layout, evaluate_one);
  }
}

}  // namespace

void EvaluateRows(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                  RowTotals* totals, Scratch* scratch) {
  const Plan& plan = *context.plan;
  WithFloatingType(plan.input().dtype, [&](auto input_type) {
    using T = decltype(input_type);
    const auto run = [&](auto target_type) {
      using P = decltype(target_type);
      RowEvaluator<T, P> evaluator(context, totals, scratch);
      if (TileEvaluator<T>::Serves(plan)) {
        if constexpr (!std::is_same_v<T, double>) {
          EvaluateTiles(context, &evaluator, slab, begin, end, totals, scratch);
        }
      } else if (plan.inner() == 1) {
        EvaluateContiguous(&evaluator, plan, slab, begin, end);
      } else {
        EvaluateStrided(&evaluator, plan, slab, begin, end, scratch);
      }
    };
    // A probability target has the input's type, or float32 beside a half.
    if (plan.target().dtype == DType::kFloat32) return run(float{});
    return run(T{});
  });
  // Streaming stores wait for nobody: who is told that the range is done must see them.
  if (context.stream_gradients) hwy::FlushStream();
}

}  // namespace lossd
