// Tiles of few classes, sixteen positions at a time, one in each lane, compiled once for each
// instruction set: no lane is wasted on two classes, and what a position costs beside its classes
// is shared by all lanes.

#if defined(LOSSD_CORE_FLOAT_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_FLOAT_TILE_INL_H_
#undef LOSSD_CORE_FLOAT_TILE_INL_H_
#else
#define LOSSD_CORE_FLOAT_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/float_positions-inl.h"
#include "core/float_vec-inl.h"
#include "core/lane_sums-inl.h"
#include "core/row_kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

static_assert(kBlock == kGroup);

/// The maxima of sixteen lanes over [classes, step] and their lowest indices.
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

/// The maximum of each lane, its index and exponent.
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

/// Exponentials of a few classes from `c` on, 0 for the first maximum's; with kKeep they are kept
/// for the gradients before that.
template <bool kKeep, size_t kCount>
HWY_INLINE void ExponentialsOf(const ScaledExp& exp, V argmax, size_t c, FloatTile* tile, size_t at,
                               V (&e)[kCount]) {
  const D d;
  const size_t offset = c * tile->step + at;
  for (size_t j = 0; j < kCount; ++j) e[j] = hn::Load(d, tile->logits + offset + j * tile->step);
  exp.Apply(e);
  for (size_t j = 0; j < kCount; ++j) {
    if (kKeep) hn::Store(e[j], d, tile->gradients + offset + j * tile->step);
    const auto top = hn::Eq(hn::Set(d, static_cast<float>(c + j)), argmax);
    e[j] = hn::IfThenZeroElse(top, e[j]);
  }
}

/// Sums in double as pairs of float32.
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

/// The tail of each lane; with kKeep the tile's gradients get the exponentials. The first maximum
/// stays out of the tail, so that a tiny remainder keeps all its bits.
template <bool kKeep>
HWY_INLINE void SumGroup(FloatTile* tile, size_t group, TileNumbers* numbers) {
  const D d;
  LaneSums tail;
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = group + p * kLanes;
    const size_t at = numbers->begin + lane;
    const V argmax = hn::ConvertTo(d, hn::Load(DI(), tile->argmax + at));
    const ScaledExp exp(hn::Load(d, numbers->max + lane), hn::Load(d, numbers->exponent + lane));
    size_t c = 0;
    for (; c + 4 <= tile->classes; c += 4) {
      V e[4];
      ExponentialsOf<kKeep>(exp, argmax, c, tile, at, e);
      for (const V& part : e) tail.Add(p, part);
    }
    for (; c < tile->classes; ++c) {
      V e[1];
      ExponentialsOf<kKeep>(exp, argmax, c, tile, at, e);
      tail.Add(p, e[0]);
    }
  }
  HWY_ALIGN double sums[kBlock];
  tail.StoreTo(sums);
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    SplitSums(sums + lane, numbers->sum.high + group + lane, numbers->sum.low + group + lane);
  }
}

/// The maxima and tails of the share that begins with numbers->begin.
template <bool kKeep>
HWY_INLINE void SumShare(FloatTile* tile, TileNumbers* numbers) {
  numbers->count = std::min(kShare, tile->step - numbers->begin);
  for (size_t group = 0; group < numbers->count; group += kGroup) {
    FindGroupMaxima(tile, group, numbers);
    SumGroup<kKeep>(tile, group, numbers);
  }
}

/// What the labels choose: one at a time, apart from the vector passes.
HWY_INLINE void GatherByLabel(const FloatTile& tile, TileNumbers* numbers) {
  const int32_t* labels = tile.labels + numbers->begin;
  for (size_t i = 0; i < numbers->count; ++i) {
    const auto label = static_cast<size_t>(std::max(labels[i], 0));
    const size_t at = label * tile.step + numbers->begin + i;
    numbers->logit[i] = tile.logits[at];
    if (tile.gradient) numbers->exponential[i] = tile.gradients[at];
  }
  for (size_t i = 0; i < numbers->count; ++i) numbers->weight[i] = labels[i] < 0 ? 0.0F : 1.0F;
  if (tile.class_weight == nullptr) return;
  for (size_t i = 0; i < numbers->count; ++i) {
    if (labels[i] >= 0) numbers->weight[i] = static_cast<float>(tile.class_weight[labels[i]]);
  }
}

/// Adds the losses exactly, where all are 0 or of magnitudes from 2^-29 to 2^16: each is cut into a
/// multiple of 2^-28 and one of 2^-52, of which doubles hold the sums of 256.
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

/// Multiplies the exponentials by each lane's factor and puts the labels' own entries in.
HWY_INLINE void FindGradients(const TileNumbers& numbers, FloatTile* tile) {
  const D d;
  for (size_t at = 0; at < numbers.count; at += kLanes) {
    const V factor = hn::Load(d, numbers.factor + at);
    float* gradient = tile->gradients + numbers.begin + at;
    for (size_t c = 0; c < tile->classes; ++c, gradient += tile->step) {
      // Adding +0 turns a -0 of a negative factor into +0.
      hn::Store(hn::Add(hn::Mul(hn::Load(d, gradient), factor), hn::Zero(d)), d, gradient);
    }
  }
  for (size_t i = 0; i < numbers.count; ++i) {
    const size_t position = numbers.begin + i;
    const int32_t label = tile->labels[position];
    if (label < 0) continue;
    tile->gradients[static_cast<size_t>(label) * tile->step + position] = numbers.entry[i];
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

#endif  // LOSSD_CORE_FLOAT_TILE_INL_H_
