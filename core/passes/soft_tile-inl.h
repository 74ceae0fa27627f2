// Tiles of few classes whose masses lie on many of them: smoothed class indices and probabilities.
// Compiled once for each instruction set. Exponentials are those of all tiles; masses and their
// factors are in double.

#if defined(LOSSD_CORE_PASSES_SOFT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_SOFT_TILE_INL_H_
#undef LOSSD_CORE_PASSES_SOFT_TILE_INL_H_
#else
#define LOSSD_CORE_PASSES_SOFT_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/passes/float_positions-inl.h"
#include "core/passes/float_tile-inl.h"
#include "core/passes/row_kernels.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/lane_sums-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// The numbers of a share's positions beside TileNumbers.
struct SoftNumbers {
  HWY_ALIGN double below[kShare];       ///< Sum of m_c (max - x_c) without a label's own mass.
  HWY_ALIGN double spread[kShare];      ///< Sum of the masses in `below`.
  HWY_ALIGN double own[kShare];         ///< A label's own mass; 0 with probabilities.
  HWY_ALIGN double top_mass[kShare];    ///< Spread mass of the class that holds the maximum.
  HWY_ALIGN double label_mass[kShare];  ///< Spread mass of the label's class.
  HWY_ALIGN double scale[kShare];       ///< 0 without a label.
  HWY_ALIGN double factor[kShare];      ///< Multiplies the exponentials.
  HWY_ALIGN float top_entry[kShare];    ///< The gradient of the maximum.
};

/// The spread mass of one class, for one vector of positions.
template <bool kProbabilities>
HWY_INLINE Halves SpreadMass(const FloatTile& tile, size_t c, size_t at) {
  Halves mass(tile.smooth);
  if constexpr (kProbabilities) {
    mass = Halves(tile.unsmoothed) * WidenLanes(hn::Load(D(), tile.targets + c * tile.step + at)) +
           mass;
  }
  return tile.class_weight == nullptr ? mass : Halves(tile.class_weight[c]) * mass;
}
template <bool kProbabilities>
HWY_INLINE double SpreadMassOf(const FloatTile& tile, size_t c, size_t at) {
  double mass = tile.smooth;
  if constexpr (kProbabilities) {
    mass = tile.unsmoothed * static_cast<double>(tile.targets[c * tile.step + at]) + mass;
  }
  return tile.class_weight == nullptr ? mass : tile.class_weight[c] * mass;
}

template <bool kProbabilities>
HWY_INLINE void SumTileMasses(const FloatTile& tile, const TileNumbers& numbers,
                              SoftNumbers* soft) {
  const bool even = !kProbabilities && tile.class_weight == nullptr;
  for (size_t lane = 0; lane < numbers.count; lane += kLanes) {
    const size_t at = numbers.begin + lane;
    const Halves top = WidenLanes(hn::Load(D(), numbers.max + lane));
    Halves below(0.0);
    Halves spread(kProbabilities ? 0.0 : tile.spread);
    for (size_t c = 0; c < tile.classes; ++c) {
      const Halves depth = top - WidenLanes(hn::Load(D(), tile.logits + c * tile.step + at));
      if (even) {
        below = below + depth;
        continue;
      }
      const Halves mass = SpreadMass<kProbabilities>(tile, c, at);
      // A zero mass adds zero, even with an infinite logit.
      below = below + ZeroWhereZero(mass, mass * depth);
      if (kProbabilities) spread = spread + mass;
    }
    StoreHalves(even ? Halves(tile.smooth) * below : below, soft->below + lane);
    StoreHalves(spread, soft->spread + lane);
  }
}

HWY_INLINE void FindTargetMaxima(const TileNumbers& numbers, FloatTile* tile) {
  for (size_t group = 0; group < numbers.count; group += kGroup) {
    V top[kParts];
    V argmax[kParts];
    const size_t at = numbers.begin + group;
    FindMaxima(tile->targets + at, tile->classes, tile->step, top, argmax);
    for (size_t p = 0; p < kParts; ++p) {
      hn::Store(hn::ConvertTo(DI(), argmax[p]), DI(), tile->labels + at + p * kLanes);
    }
  }
}

/// Gathers the masses that labels and maxima choose, one position at a time.
template <bool kProbabilities>
HWY_INLINE void GatherMasses(const FloatTile& tile, const TileNumbers& numbers, SoftNumbers* soft) {
  for (size_t i = 0; i < numbers.count; ++i) {
    const size_t at = numbers.begin + i;
    const auto label = static_cast<size_t>(std::max(tile.labels[at], 0));
    const bool counted = tile.labels[at] >= 0;
    soft->scale[i] = counted ? static_cast<double>(tile.scales[at]) : 0.0;
    const double weight = tile.class_weight == nullptr ? 1.0 : tile.class_weight[label];
    soft->own[i] = !kProbabilities && counted ? tile.unsmoothed * weight : 0.0;
    const auto argmax = static_cast<size_t>(tile.argmax[at]);
    soft->top_mass[i] = SpreadMassOf<kProbabilities>(tile, argmax, at);
    soft->label_mass[i] = SpreadMassOf<kProbabilities>(tile, label, at);
  }
}

/// Finds losses, and with kGradient factors and entries. Plain loops, which compilers vectorize.
/// Sets `numbers->weight` and `factor` for FindGood to check.
template <bool kGradient>
HWY_INLINE void FindSoftLosses(TileNumbers* numbers, SoftNumbers* soft, FloatTile* tile) {
  const auto wide = [](const PairLanes& from, size_t i) {
    return static_cast<double>(from.high[i]) + static_cast<double>(from.low[i]);
  };
  for (size_t i = 0; i < numbers->count; ++i) {
    const size_t at = numbers->begin + i;
    const auto max = static_cast<double>(numbers->max[i]);
    const double tail = wide(numbers->tail, i) * kExponentialScale;
    // Below 2^-40, float32 may have lost bits of the logarithm, which then equals the tail.
    const double log = tail < 0x1p-40 ? tail : wide(numbers->log, i);
    const double own = soft->own[i];
    const double below = max - static_cast<double>(numbers->logit[i]);
    const double of_label = own == 0.0 ? 0.0 : own * (below + log);
    const double loss = (soft->below[i] + soft->spread[i] * log) + of_label;
    const double total = soft->spread[i] + own;
    const bool counted = tile->labels[at] >= 0 && at < tile->count;
    tile->losses[at] = counted ? static_cast<float>(loss) + 0.0F : 0.0F;
    tile->log_norms[at] = log;
    tile->log_sum_exps[at] = max + log;
    numbers->weight[i] = static_cast<float>(total);
    if (!kGradient) continue;
    const double norm = 1.0 + tail;
    const double scale = soft->scale[i];
    const double factor = scale * total * wide(numbers->mantissa, i) / norm * kExponentialScale;
    soft->factor[i] = factor;
    numbers->factor[i] = static_cast<float>(factor);
    // The maximum's p may be near 1, where an error of an ulp is largest; 1 - p, from the tail, is
    // then small and as exact.
    const bool own_top = tile->labels[at] == tile->argmax[at];
    const double mass = soft->top_mass[i] + (own_top ? own : 0.0);
    const double top = scale * ((total - mass) - total * (tail / norm));
    soft->top_entry[i] = static_cast<float>(top) + 0.0F;
    const double entry =
        factor * static_cast<double>(numbers->exponential[i]) - scale * (own + soft->label_mass[i]);
    numbers->entry[i] = static_cast<float>(entry) + 0.0F;
  }
}

/// factor exp(x_c) - scale m_c, and the entries that are known more exactly.
template <bool kProbabilities>
HWY_INLINE void FindSoftGradients(const TileNumbers& numbers, const SoftNumbers& soft,
                                  FloatTile* tile) {
  const D d;
  for (size_t lane = 0; lane < numbers.count; lane += kLanes) {
    const size_t at = numbers.begin + lane;
    const Halves factor = LoadHalves(soft.factor + lane);
    const Halves scale = LoadHalves(soft.scale + lane);
    for (size_t c = 0; c < tile->classes; ++c) {
      float* gradient = tile->gradients + c * tile->step + at;
      const Halves term = scale * SpreadMass<kProbabilities>(*tile, c, at);
      const V v = NarrowLanes(factor * WidenLanes(hn::Load(d, gradient)) - term);
      // Adding +0 turns -0 into +0.
      hn::Store(hn::Add(v, hn::Zero(d)), d, gradient);
    }
  }
  for (size_t i = 0; i < numbers.count; ++i) {
    const size_t at = numbers.begin + i;
    const int32_t label = tile->labels[at];
    if (!kProbabilities && label >= 0) {
      tile->gradients[static_cast<size_t>(label) * tile->step + at] = numbers.entry[i];
    }
    tile->gradients[static_cast<size_t>(tile->argmax[at]) * tile->step + at] = soft.top_entry[i];
  }
}

template <bool kGradient, bool kProbabilities>
HWY_INLINE void EvaluateSoftTileWith(FloatTile* tile) {
  tile->all_good = true;
  TileNumbers numbers;
  SoftNumbers soft;
  for (numbers.begin = 0; numbers.begin < tile->step; numbers.begin += kShare) {
    SumShare<kGradient>(tile, &numbers);
    if (kProbabilities) FindTargetMaxima(numbers, tile);
    SumTileMasses<kProbabilities>(*tile, numbers, &soft);
    GatherByLabel(*tile, &numbers);
    GatherMasses<kProbabilities>(*tile, numbers, &soft);
    FindTails(&numbers);
    FindLogs(&numbers);
    FindSoftLosses<kGradient>(&numbers, &soft, tile);
    if (kGradient) FindSoftGradients<kProbabilities>(numbers, soft, tile);
    FindGood(numbers, tile);
  }
  SumLosses(tile);
}

inline void EvaluateSoftTile(FloatTile* tile) {
  if (tile->gradient) {
    if (tile->probabilities) return EvaluateSoftTileWith<true, true>(tile);
    return EvaluateSoftTileWith<true, false>(tile);
  }
  if (tile->probabilities) return EvaluateSoftTileWith<false, true>(tile);
  EvaluateSoftTileWith<false, false>(tile);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_SOFT_TILE_INL_H_
