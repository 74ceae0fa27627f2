// Everything about a tile of positions of few classes: its losses, counts and gradients.
#ifndef LOSSD_CORE_TILE_EVALUATOR_INL_H_
#define LOSSD_CORE_TILE_EVALUATOR_INL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <variant>

#include "core/kernel.h"
#include "core/load.h"
#include "core/plan.h"
#include "core/row_kernels.h"
#include "core/row_outputs-inl.h"
#include "core/summary.h"

namespace lossd {

/// Evaluates tiles of storage type T, float or a half.
template <typename T>
class TileEvaluator {
 public:
  /// Whether rows are evaluated in tiles: float32 arithmetic and few classes.
  static bool Serves(const Plan& plan) {
    return IsSharp(plan) && !std::is_same_v<T, double> &&
           static_cast<size_t>(plan.classes()) <= kMaxTileClasses;
  }

  TileEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        plan_(*context.plan),
        kernels_(GetRowKernels(plan_.input().dtype, plan_.input().dtype)),
        totals_(totals),
        loss_sum_(&std::get<ExactSum<float>>(totals->loss)) {
    if (scratch->tile == nullptr) scratch->tile = std::make_unique<FloatTile>();
    tile_ = scratch->tile.get();
    tile_->class_weight = plan_.weight().empty() ? nullptr : plan_.weight().data();
  }

  /// Evaluates the tile that begins with position `at` of the slab. Calls left(position) for those,
  /// if any, that need the passes in double; nothing is written for them. REQUIRES: Serves(plan).
  template <typename Left>
  void Evaluate(const std::byte* input, std::byte* grad_input, const Slab& slab, int64_t at,
                const TileLayout& layout, const Left& left) {
    FloatTile& tile = *tile_;
    tile.gradient = grad_input != nullptr;
    tile.logs = slab.log_sum_exp != nullptr || context_.class_sums != nullptr;
    kernels_.load_tile(input, layout, &tile);
    context_.labels->Load(slab.first_position + at, layout.count, tile.labels);
    std::fill(tile.labels + layout.count, tile.labels + tile.step, -1);
    FillScales(slab, at, layout.count);
    kernels_.evaluate_tile(&tile);
    if (tile.gradient) {
      kernels_.store_tile(layout, context_.stream_gradients, &tile, grad_input);
    }
    Finish(slab, at, layout.count);
    for (size_t i = 0; !tile.all_good && i < layout.count; ++i) {
      if (!tile.good[i]) left(at + static_cast<int64_t>(i));
    }
  }

 private:
  void FillScales(const Slab& slab, int64_t at, size_t count) {
    // Scales are values of float32 wherever the logits are no wider.
    std::fill(tile_->scales, tile_->scales + tile_->step, static_cast<float>(context_.scale));
    for (size_t i = 0; slab.grad_output != nullptr && i < count; ++i) {
      tile_->scales[i] =
          static_cast<float>(GradOutputAt(plan_, slab, at + static_cast<int64_t>(i)));
    }
  }

  /// Everything of the good positions but their gradients.
  void Finish(const Slab& slab, int64_t at, size_t count) {
    const FloatTile& tile = *tile_;
    const bool plain = !tile.logs && plan_.outputs().top_k == 0 && tile.all_good;
    if (!plain) {
      for (size_t i = 0; i < count; ++i) {
        if (tile.good[i]) FinishLane(i, slab, at + static_cast<int64_t>(i));
      }
      return;
    }
    uint64_t correct = 0;
    for (size_t i = 0; i < count; ++i) correct += tile.argmax[i] == tile.labels[i] ? 1 : 0;
    totals_->correct += correct;
    if (tile.summed) {
      loss_sum_.AddUnits(tile.loss_units, kLossUnit);
    } else {
      for (size_t i = 0; i < count; ++i) loss_sum_.Add(tile.losses[i]);
    }
    if (slab.loss == nullptr) return;
    std::memcpy(slab.loss + static_cast<size_t>(at) * sizeof(float), tile.losses,
                count * sizeof(float));
  }

  void FinishLane(size_t i, const Slab& slab, int64_t position) {
    const FloatTile& tile = *tile_;
    const size_t offset = static_cast<size_t>(position) * sizeof(float);
    loss_sum_.Add(tile.losses[i]);
    if (slab.loss != nullptr) StoreRaw(slab.loss + offset, tile.losses[i]);
    if (slab.log_sum_exp != nullptr) {
      StoreRaw(slab.log_sum_exp + offset, Narrow<float>(tile.log_sum_exps[i]));
    }
    if (tile.labels[i] < 0) return;
    if (tile.argmax[i] == tile.labels[i]) ++totals_->correct;
    const uint32_t k = plan_.outputs().top_k;
    if (k > 0 && Rank(i) < k) ++totals_->correct_top_k;
    if (context_.class_sums != nullptr) {
      context_.class_sums->AddOne(tile.labels[i],
                                  static_cast<double>(tile.scales[i]) * tile.negative_logs[i]);
    }
  }

  /// How many classes rank before the label in lane i: greater logits, equal ones at lower indices.
  [[nodiscard]] uint64_t Rank(size_t i) const {
    const FloatTile& tile = *tile_;
    const auto label = static_cast<size_t>(tile.labels[i]);
    const float at = tile.logits[label * tile.step + i];
    uint64_t rank = 0;
    for (size_t c = 0; c < tile.classes; ++c) {
      const float other = tile.logits[c * tile.step + i];
      if (other > at || (other == at && c < label)) ++rank;
    }
    return rank;
  }

  const RowContext& context_;
  const Plan& plan_;
  const RowKernels& kernels_;
  RowTotals* totals_;
  WindowedSum<float> loss_sum_;
  FloatTile* tile_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_TILE_EVALUATOR_INL_H_
