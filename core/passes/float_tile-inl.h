// Tiles of few classes: sixteen positions at a time, one in each lane. Compiled once for each
// instruction set. Two classes waste no lane this way, and all lanes share the cost of a position
// beside its classes.

#if defined(LOSSD_CORE_PASSES_FLOAT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_FLOAT_TILE_INL_H_
#undef LOSSD_CORE_PASSES_FLOAT_TILE_INL_H_
#else
#define LOSSD_CORE_PASSES_FLOAT_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/passes/float_positions-inl.h"
#include "core/passes/row_kernels.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/lane_sums-inl.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

static_assert(kBlock == kGroup);

/// The maxima of sixteen lanes over [classes, step], and their lowest indices.
HWY_INLINE void FindMaxima(const float* from, size_t classes, size_t step, V (&top)[kParts],
                           V (&argmax)[kParts]) {
  const D d;
  V index = hn::Zero(d);
  for (size_t p = 0; p < kParts; ++p) {
    top[p] = hn::Load(d, from + p * kLanes);
    argmax[p] = index;
  }
  for (size_t c = 1; c < classes; ++c) {
    from += step;
    index = hn::Add(index, hn::Set(d, 1.0F));
    for (size_t p = 0; p < kParts; ++p) {
      const V x = hn::Load(d, from + p * kLanes);
      argmax[p] = hn::IfThenElse(hn::Gt(x, top[p]), index, argmax[p]);
      top[p] = hn::Max(x, top[p]);
    }
  }
}

/// Finds the maximum of each lane, its index and exponent.
HWY_INLINE void FindGroupMaxima(FloatTile* tile, size_t group, TileNumbers* numbers) {
  const D d;
  V top[kParts];
  V argmax[kParts];
  const size_t begin = numbers->begin + group;
  FindMaxima(tile->logits + begin, tile->classes, tile->step, top, argmax);
  for (size_t p = 0; p < kParts; ++p) {
    const size_t at = group + p * kLanes;
    hn::Store(top[p], d, numbers->max + at);
    hn::Store(ScaledExp::NearestExponent(top[p]), d, numbers->exponent + at);
    hn::Store(hn::ConvertTo(DI(), argmax[p]), DI(), tile->argmax + begin + p * kLanes);
  }
}

/// Adds the exponentials of kClasses classes, from the logits at `offset` on. The first maximum's
/// stays out of the tail, so that a tiny remainder keeps all its bits. With kKeep the tile's
/// gradients get all exponentials. All parts go together, which makes many independent chains of
/// operations.
template <bool kKeep, size_t kClasses>
HWY_INLINE void AddExponentials(const ScaledExp (&exp)[kParts], const V (&argmax)[kParts],
                                size_t offset, FloatTile* tile, V* index, LaneSums* tail) {
  const D d;
  V e[kClasses * kParts];
  for (size_t i = 0; i < kClasses * kParts; ++i) {
    e[i] = hn::Load(d, tile->logits + offset + i / kParts * tile->step + i % kParts * kLanes);
  }
  ScaledExp::ApplyParts(exp, e);
  for (size_t i = 0; i < kClasses * kParts; ++i) {
    if (kKeep) {
      hn::Store(e[i], d, tile->gradients + offset + i / kParts * tile->step + i % kParts * kLanes);
    }
    tail->Add(i % kParts, hn::IfThenZeroElse(hn::Eq(*index, argmax[i % kParts]), e[i]));
    if (i % kParts == kParts - 1) *index = hn::Add(*index, hn::Set(d, 1.0F));
  }
}

/// Splits sums in double into pairs of float32.
HWY_INLINE void SplitSums(const double* sums, float* high, float* low) {
#if HWY_TARGET == HWY_SCALAR
  high[0] = static_cast<float>(sums[0]);
  low[0] = static_cast<float>(sums[0] - static_cast<double>(high[0]));
#else
  const hn::Rebind<double, hn::Half<D> > wide;
  const hn::Half<D> half;
  for (size_t i = 0; i < kLanes; i += kLanes / 2) {
    const auto sum = hn::Load(wide, sums + i);
    const auto near = hn::DemoteTo(half, sum);
    hn::Store(near, half, high + i);
    hn::Store(hn::DemoteTo(half, hn::Sub(sum, hn::PromoteTo(wide, near))), half, low + i);
  }
#endif
}

/// Sums the tail of each lane. With kKeep the tile's gradients get the exponentials.
template <bool kKeep>
HWY_INLINE void SumGroup(FloatTile* tile, size_t group, TileNumbers* numbers) {
  const D d;
  LaneSums tail;
  V argmax[kParts];
  ScaledExp exp[kParts];
  const size_t begin = numbers->begin + group;
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    argmax[p] = hn::ConvertTo(d, hn::Load(DI(), tile->argmax + begin + lane));
    exp[p] = ScaledExp(hn::Load(d, numbers->max + group + lane),
                       hn::Load(d, numbers->exponent + group + lane));
  }
  constexpr size_t kTogether = kParts < 4 ? 4 / kParts : 1;
  V index = hn::Zero(d);
  size_t c = 0;
  for (; c + kTogether <= tile->classes; c += kTogether) {
    AddExponentials<kKeep, kTogether>(exp, argmax, begin + c * tile->step, tile, &index, &tail);
  }
  for (; c < tile->classes; ++c) {
    AddExponentials<kKeep, 1>(exp, argmax, begin + c * tile->step, tile, &index, &tail);
  }
  HWY_ALIGN double sums[kBlock];
  tail.StoreTo(sums);
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    SplitSums(sums + lane, numbers->sum.high + group + lane, numbers->sum.low + group + lane);
  }
}

/// Prefetches what the next tile will be read from, a part of it with each group: all of it at once
/// would be more than a processor can wait for. A prefetch never faults.
HWY_INLINE void AskAhead(const FloatTile& tile, size_t group) {
  const size_t groups = tile.step / kGroup;
  for (const TileAhead& ahead : tile.ahead) {
    const size_t begin = ahead.run_bytes * (group / kGroup) / groups;
    const size_t end = ahead.run_bytes * (group / kGroup + 1) / groups;
    for (size_t run = 0; run < ahead.runs; ++run) {
      const std::byte* from = ahead.from + run * ahead.run_step;
      for (size_t at = begin; at < end; at += 64) hwy::Prefetch(from + at);
    }
  }
}

/// Finds the maxima and tails of the share that begins at numbers->begin.
template <bool kKeep>
HWY_INLINE void SumShare(FloatTile* tile, TileNumbers* numbers) {
  numbers->count = std::min(kShare, tile->step - numbers->begin);
  for (size_t group = 0; group < numbers->count; group += kGroup) {
    AskAhead(*tile, numbers->begin + group);
    FindGroupMaxima(tile, group, numbers);
    SumGroup<kKeep>(tile, group, numbers);
  }
}

/// Picks the labels' logits and exponentials, one position at a time.
HWY_INLINE void PickByLabel(const FloatTile& tile, TileNumbers* numbers) {
  const int32_t* labels = tile.labels + numbers->begin;
  for (size_t i = 0; i < numbers->count; ++i) {
    const auto label = static_cast<size_t>(std::max(labels[i], 0));
    const size_t at = label * tile.step + numbers->begin + i;
    numbers->logit[i] = tile.logits[at];
    if (tile.gradient) numbers->exponential[i] = tile.gradients[at];
  }
}

/// The same for a vector of positions at a time, which looks at every class. It took 0.93 of the
/// time of whole tiles with two classes, 1.02 with ten.
HWY_INLINE void SelectByLabel(const FloatTile& tile, TileNumbers* numbers) {
  const D d;
  for (size_t at = 0; at < numbers->count; at += kLanes) {
    const size_t begin = numbers->begin + at;
    const V label = hn::ConvertTo(d, hn::Load(DI(), tile.labels + begin));
    V index = hn::Zero(d);
    V logit = index;
    V exponential = index;
    for (size_t c = 0; c < tile.classes; ++c) {
      const size_t from = c * tile.step + begin;
      const auto own = hn::Eq(index, label);
      logit = hn::IfThenElse(own, hn::Load(d, tile.logits + from), logit);
      if (tile.gradient) {
        exponential = hn::IfThenElse(own, hn::Load(d, tile.gradients + from), exponential);
      }
      index = hn::Add(index, hn::Set(d, 1.0F));
    }
    hn::Store(logit, d, numbers->logit + at);
    hn::Store(exponential, d, numbers->exponential + at);
  }
}

/// Gathers the labels' logits, exponentials and weights.
HWY_INLINE void GatherByLabel(const FloatTile& tile, TileNumbers* numbers) {
  constexpr size_t kFew = 6;
  if (tile.classes <= kFew) {
    SelectByLabel(tile, numbers);
  } else {
    PickByLabel(tile, numbers);
  }
  const int32_t* labels = tile.labels + numbers->begin;
  for (size_t i = 0; i < numbers->count; ++i) numbers->weight[i] = labels[i] < 0 ? 0.0F : 1.0F;
  if (tile.class_weight == nullptr) return;
  for (size_t i = 0; i < numbers->count; ++i) {
    if (labels[i] >= 0) numbers->weight[i] = static_cast<float>(tile.class_weight[labels[i]]);
  }
}

/// Adds the losses exactly, if all are 0 or of magnitudes from 2^-29 to 2^16. Each loss is split
/// into a multiple of 2^-28 and one of 2^-52; doubles hold the sums of 256 of these exactly.
HWY_INLINE void SumLosses(FloatTile* tile) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> narrow;
  const auto cut = hn::Set(d, 0x1.8p24);
  const auto least = hn::Set(d, 0x1p-29);
  const auto most = hn::Set(d, 0x1p16);
  auto coarse = hn::Zero(d);
  auto fine = hn::Zero(d);
  bool fit = true;
  for (size_t i = 0; i < tile->step; i += hn::MaxLanes(d)) {
    const auto loss = hn::PromoteTo(d, hn::Load(narrow, tile->losses + i));
    const auto size = hn::Abs(loss);
    const auto fits = hn::And(hn::Ge(size, least), hn::Lt(size, most));
    fit &= hn::AllTrue(d, hn::Or(fits, hn::Eq(loss, hn::Zero(d))));
    const auto multiple = hn::Sub(hn::Add(loss, cut), cut);
    coarse = hn::Add(coarse, multiple);
    fine = hn::Add(fine, hn::Sub(loss, multiple));
  }
  tile->summed = fit;
  if (!fit) return;
  HWY_ALIGN double sums[2][hn::MaxLanes(d)];
  hn::Store(coarse, d, sums[0]);
  hn::Store(fine, d, sums[1]);
  __int128 units = 0;
  for (size_t i = 0; i < hn::MaxLanes(d); ++i) {
    units += static_cast<__int128>(static_cast<int64_t>(sums[0][i] * 0x1p28)) * (int64_t{1} << 24U);
    units += static_cast<int64_t>(sums[1][i] * 0x1p52);
  }
  tile->loss_units = units;
}

/// Multiplies the exponentials by each lane's factor, and inserts the labels' own entries.
HWY_INLINE void FindGradients(const TileNumbers& numbers, FloatTile* tile) {
  const D d;
  for (size_t at = 0; at < numbers.count; at += kLanes) {
    const V factor = hn::Load(d, numbers.factor + at);
    const V entry = hn::Load(d, numbers.entry + at);
    const V label = hn::ConvertTo(d, hn::Load(DI(), tile->labels + numbers.begin + at));
    V index = hn::Zero(d);
    float* gradient = tile->gradients + numbers.begin + at;
    for (size_t c = 0; c < tile->classes; ++c, gradient += tile->step) {
      // Adding +0 turns a -0 of a negative factor into +0.
      const V product = hn::Add(hn::Mul(hn::Load(d, gradient), factor), hn::Zero(d));
      hn::Store(hn::IfThenElse(hn::Eq(index, label), entry, product), d, gradient);
      index = hn::Add(index, hn::Set(d, 1.0F));
    }
  }
}

/// Takes the gradient of a maximum that is not the label's from the tail, in lanes with a small
/// tail.
inline HWY_NOINLINE void StoreNearOnes(const TileNumbers& numbers, size_t at, FloatTile* tile) {
  for (size_t i = at; i < at + kLanes; ++i) {
    const size_t to = numbers.begin + i;
    const int32_t label = tile->labels[to];
    const double tail =
        (static_cast<double>(numbers.tail.high[i]) + static_cast<double>(numbers.tail.low[i])) *
        kExponentialScale;
    if (label < 0 || label == tile->argmax[to] || !(tail < kSmallTail)) continue;
    const double own =
        static_cast<double>(numbers.weight[i]) * static_cast<double>(tile->scales[to]);
    tile->gradients[static_cast<size_t>(tile->argmax[to]) * tile->step + to] =
        static_cast<float>(own / (1.0 + tail)) + 0.0F;
  }
}

/// Finds the lanes for StoreNearOnes. They are few: the model is sure there, and wrong.
HWY_INLINE void FindNearOnes(const TileNumbers& numbers, FloatTile* tile) {
  const D d;
  const V small = hn::Set(d, static_cast<float>(kSmallTail / kExponentialScale));
  for (size_t at = 0; at < numbers.count; at += kLanes) {
    const auto label = hn::Load(DI(), tile->labels + numbers.begin + at);
    const auto argmax = hn::Load(DI(), tile->argmax + numbers.begin + at);
    const auto top = hn::RebindMask(d, hn::Eq(label, argmax));
    const auto sure = hn::Lt(hn::Load(d, numbers.tail.high + at), small);
    if (HWY_UNLIKELY(!hn::AllFalse(d, hn::AndNot(top, sure)))) StoreNearOnes(numbers, at, tile);
  }
}

template <bool kGradient>
HWY_INLINE void EvaluateTileWith(FloatTile* tile) {
  tile->all_good = true;
  TileNumbers numbers;
  for (numbers.begin = 0; numbers.begin < tile->step; numbers.begin += kShare) {
    SumShare<kGradient>(tile, &numbers);
    GatherByLabel(*tile, &numbers);
    FindTails(&numbers);
    FindLogs(&numbers);
    FindLosses(numbers, tile);
    if (kGradient) {
      FindFactors(*tile, &numbers);
      FindGradients(numbers, tile);
      FindNearOnes(numbers, tile);
    }
    FindGood(numbers, tile);
  }
  SumLosses(tile);
}

inline void EvaluateTile(FloatTile* tile) {
  if (tile->gradient) return EvaluateTileWith<true>(tile);
  EvaluateTileWith<false>(tile);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_FLOAT_TILE_INL_H_
