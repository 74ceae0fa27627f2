// A tile of positions of few classes: its losses, counts and gradients.
#ifndef LOSSD_CORE_ROWS_TILE_EVALUATOR_H_
#define LOSSD_CORE_ROWS_TILE_EVALUATOR_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <variant>

#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"
#include "core/rows/row_outputs.h"
#include "core/sums/summary.h"

namespace lossd {

/// Evaluates tiles of storage type T, float or a half, and of probabilities, if any, of type P.
template <typename T, typename P>
class TileEvaluator {
 public:
  /// Whether rows are evaluated in tiles: float32 arithmetic and few classes.
  static bool Serves(const Plan& plan) {
    return !std::is_same_v<T, double> && static_cast<size_t>(plan.classes()) <= kMaxTileClasses;
  }

  TileEvaluator(const RowContext& context, RowTotals* totals, Scratch* scratch)
      : context_(context),
        plan_(*context.plan),
        kernels_(KernelsOf<P>(plan_)),
        totals_(totals),
        loss_sum_(&std::get<ExactSum<float>>(totals->loss)),
        hard_(HasHardTargets(plan_)) {
    if (scratch->tile == nullptr) scratch->tile = std::make_unique<FloatTile>();
    tile_ = scratch->tile.get();
    tile_->class_weight = plan_.weight().empty() ? nullptr : plan_.weight().data();
    tile_->probabilities = context.labels == nullptr;
    tile_->ahead[1] = {};  // The last one may belong to another problem.
    tile_->unsmoothed = 1.0 - plan_.criterion().label_smoothing();
    tile_->smooth = plan_.criterion().label_smoothing() / static_cast<double>(plan_.classes());
    tile_->spread = tile_->smooth * plan_.weight_sum();
  }

  /// Evaluates the tile that begins with position `at` of the slab; `data` points to its class 0.
  /// Calls left(position) for each position that tiles do not serve, and writes nothing for it.
  /// REQUIRES: Serves(plan).
  template <typename Left>
  void Evaluate(const RowData& data, const Slab& slab, int64_t at, const TileLayout& layout,
                const Left& left) {
    FloatTile& tile = *tile_;
    tile.gradient = data.grad_input != nullptr;
    tile.logs = slab.log_sum_exp != nullptr || context_.class_sums != nullptr ||
                data.grad_target != nullptr;
    kernels_.load_tile(data.input, layout, &tile);
    if (tile.probabilities) {
      kernels_.load_tile_target(data.target, layout, &tile);
    } else {
      context_.labels->Load(slab.first_position + at, layout.count, tile.labels);
      std::fill(tile.labels + layout.count, tile.labels + tile.step, -1);
    }
    FillScales(slab, at, layout.count);
    if (hard_) {
      kernels_.evaluate_tile(&tile);
    } else {
      kernels_.evaluate_soft_tile(&tile);
    }
    if (tile.gradient) {
      kernels_.store_tile(layout, context_.stream_gradients, &tile, data.grad_input);
    }
    for (size_t i = 0; data.grad_target != nullptr && i < layout.count; ++i) {
      if (tile.good[i]) WriteTargetGradient(i, layout, data.grad_target);
    }
    Finish(slab, at, layout.count);
    for (size_t i = 0; !tile.all_good && i < layout.count; ++i) {
      if (!tile.good[i]) left(at + static_cast<int64_t>(i));
    }
  }

 private:
  void FillScales(const Slab& slab, int64_t at, size_t count) {
    // Scales are float32 values if the logits are no wider.
    std::fill(tile_->scales, tile_->scales + tile_->step, static_cast<float>(context_.scale));
    for (size_t i = 0; slab.grad_output != nullptr && i < count; ++i) {
      tile_->scales[i] =
          static_cast<float>(GradOutputAt(plan_, slab, at + static_cast<int64_t>(i)));
    }
  }

  /// Writes and counts all results of the good positions, except their gradients.
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
    if (context_.class_sums == nullptr) return;
    if (hard_) {
      context_.class_sums->AddOne(tile.labels[i],
                                  static_cast<double>(tile.scales[i]) * tile.negative_logs[i]);
    } else {
      AddWeightTerms(i);
    }
  }

  /// The number of classes that rank before the label in lane i: larger logits, and equal ones at
  /// lower indices.
  [[nodiscard]] uint64_t Rank(size_t i) const {
    const auto label = static_cast<size_t>(tile_->labels[i]);
    const double at = LogitAt(i, label);
    uint64_t rank = 0;
    for (size_t c = 0; c < tile_->classes; ++c) {
      const double other = LogitAt(i, c);
      if (other > at || (other == at && c < label)) ++rank;
    }
    return rank;
  }

  [[nodiscard]] double LogitAt(size_t i, size_t c) const {
    return static_cast<double>(tile_->logits[c * tile_->step + i]);
  }
  /// -l_c in lane i, for masses on many classes.
  [[nodiscard]] double NegativeLog(size_t i, size_t c) const {
    return (LogitAt(i, static_cast<size_t>(tile_->argmax[i])) - LogitAt(i, c)) +
           tile_->log_norms[i];
  }

  /// Adds the terms of one position in the gradient of the weight: scale u_c (-l_c), with the
  /// unweighted mass u_c of weight_terms.
  void AddWeightTerms(size_t i) const {
    const FloatTile& tile = *tile_;
    double terms[kMaxTileClasses];
    for (size_t c = 0; c < tile.classes; ++c) {
      double share = tile.smooth;
      if (tile.probabilities) {
        share =
            tile.unsmoothed * static_cast<double>(tile.targets[c * tile.step + i]) + tile.smooth;
      } else if (static_cast<size_t>(tile.labels[i]) == c) {
        share = tile.unsmoothed + tile.smooth;
      }
      const auto scale = static_cast<double>(tile.scales[i]);
      terms[c] = share == 0.0 ? 0.0 : scale * (share * NegativeLog(i, c));
    }
    context_.class_sums->AddRow(terms);
  }

  /// As target_gradient of RowKernels.
  void WriteTargetGradient(size_t i, const TileLayout& layout, std::byte* to) const {
    const FloatTile& tile = *tile_;
    for (size_t c = 0; c < tile.classes; ++c) {
      const double factor =
          tile.unsmoothed * (tile.class_weight == nullptr ? 1.0 : tile.class_weight[c]);
      const auto scale = static_cast<double>(tile.scales[i]);
      const double value = factor == 0.0 ? 0.0 : scale * (factor * NegativeLog(i, c));
      const size_t element = c * layout.class_step + i * layout.position_step;
      StoreRaw(to + element * sizeof(P), Narrow<P>(value));
    }
  }

  const RowContext& context_;
  const Plan& plan_;
  const RowKernels& kernels_;
  RowTotals* totals_;
  WindowedSum<float> loss_sum_;
  bool hard_;
  FloatTile* tile_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_TILE_EVALUATOR_H_
