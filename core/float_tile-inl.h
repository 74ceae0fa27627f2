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

#include "core/float_pair-inl.h"
#include "core/float_vec-inl.h"
#include "core/row_kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

static_assert(kBlock == kGroup);

/// What is found out about the positions of a tile on the way to their losses and gradients.
struct TileNumbers {
  HWY_ALIGN float max[kTilePositions];
  HWY_ALIGN float exponent[kTilePositions];  ///< Of exp(max), as NearestExponent gives it.
  // Sum of the exponentials but the maximum's, as ScaledExp gives them.
  HWY_ALIGN float tail_high[kTilePositions];
  HWY_ALIGN float tail_low[kTilePositions];
  HWY_ALIGN float weight[kTilePositions];
  HWY_ALIGN float logit[kTilePositions];        ///< The label's.
  HWY_ALIGN float exponential[kTilePositions];  ///< The label's, as ScaledExp gives it.
  HWY_ALIGN float factor[kTilePositions];       ///< What the exponentials are to be multiplied by.
  HWY_ALIGN float entry[kTilePositions];        ///< The gradient of the label's logit.
};

/// The maximum of each lane, its index and exponent.
HWY_INLINE void FindGroupMaxima(FloatTile* tile, size_t begin, TileNumbers* numbers) {
  const D d;
  V top[kParts];
  V argmax[kParts];
  V index = hn::Zero(d);
  const float* from = tile->logits + begin;
  for (size_t p = 0; p < kParts; ++p) {
    top[p] = hn::Load(d, from + p * kLanes);
    argmax[p] = index;
  }
  for (size_t c = 1; c < tile->classes; ++c) {
    from += tile->step;
    index = hn::Add(index, hn::Set(d, 1.0F));
    for (size_t p = 0; p < kParts; ++p) {
      const V x = hn::Load(d, from + p * kLanes);
      argmax[p] = hn::IfThenElse(hn::Gt(x, top[p]), index, argmax[p]);
      top[p] = hn::Max(x, top[p]);
    }
  }
  for (size_t p = 0; p < kParts; ++p) {
    const size_t at = begin + p * kLanes;
    hn::Store(top[p], d, numbers->max + at);
    hn::Store(ScaledExp::NearestExponent(top[p]), d, numbers->exponent + at);
    hn::Store(hn::ConvertTo(DI(), argmax[p]), DI(), tile->argmax + at);
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
HWY_INLINE void SumGroup(FloatTile* tile, size_t begin, TileNumbers* numbers) {
  const D d;
  LaneSums tail;
  for (size_t p = 0; p < kParts; ++p) {
    const size_t at = begin + p * kLanes;
    const V argmax = hn::ConvertTo(d, hn::Load(DI(), tile->argmax + at));
    const ScaledExp exp(hn::Load(d, numbers->max + at), hn::Load(d, numbers->exponent + at));
    size_t c = 0;
    for (; c + 4 <= tile->classes; c += 4) {
      V e[4];
      ExponentialsOf<kKeep>(exp, argmax, c, tile, at, e);
      tail.Add(p, hn::Add(e[0], e[1]));
      tail.Add(p, hn::Add(e[2], e[3]));
    }
    if (c + 2 <= tile->classes) {
      V e[2];
      ExponentialsOf<kKeep>(exp, argmax, c, tile, at, e);
      tail.Add(p, hn::Add(e[0], e[1]));
      c += 2;
    }
    if (c < tile->classes) {
      V e[1];
      ExponentialsOf<kKeep>(exp, argmax, c, tile, at, e);
      tail.Add(p, e[0]);
    }
  }
  HWY_ALIGN double sums[kBlock];
  tail.StoreTo(sums);
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    SplitSums(sums + lane, numbers->tail_high + begin + lane, numbers->tail_low + begin + lane);
  }
}

/// What the labels choose: one at a time, apart from the vector passes.
HWY_INLINE void GatherByLabel(const FloatTile& tile, TileNumbers* numbers) {
  for (size_t i = 0; i < tile.step; ++i) {
    const int32_t label = tile.labels[i];
    const size_t at = static_cast<size_t>(std::max(label, 0)) * tile.step + i;
    numbers->logit[i] = tile.logits[at];
    if (tile.gradient) numbers->exponential[i] = tile.gradients[at];
  }
  for (size_t i = 0; i < tile.step; ++i) numbers->weight[i] = tile.labels[i] < 0 ? 0.0F : 1.0F;
  if (tile.class_weight == nullptr) return;
  for (size_t i = 0; i < tile.step; ++i) {
    const int32_t label = tile.labels[i];
    if (label >= 0) numbers->weight[i] = static_cast<float>(tile.class_weight[label]);
  }
}

/// One vector of positions of a tile, from tails to losses and factors.
///
/// Tails are kept times 2^61. One below 2^-40 beside a label that is the maximum is itself the
/// loss; it keeps its scale until the last step, where alone it may become subnormal.
class TileLanes {
 public:
  HWY_INLINE TileLanes(const FloatTile& tile, const TileNumbers& numbers, size_t at)
      : at_(at), max_(Load(numbers.max)), weight_(Load(numbers.weight)) {
    const D d;
    unscale_ = hn::Set(d, static_cast<float>(kExponentialScale));
    mantissa_ = InverseMantissa(max_, Load(numbers.exponent));
    scaled_tail_ = Product(Pair{Load(numbers.tail_high), Load(numbers.tail_low)}, mantissa_);
    tail_ = {hn::Mul(scaled_tail_.high, unscale_), hn::Mul(scaled_tail_.low, unscale_)};
    tiny_tail_ = hn::Lt(scaled_tail_.high, hn::Set(d, 0x1p21F));
    log_ = LogOnePlus(tail_, &norm_);
    // NaN at class 0 is its own maximum; elsewhere it is in the tail.
    const V first = hn::Load(d, tile.logits + at);
    const V greatest_weight = hn::Set(d, static_cast<float>(GreatestWeight(tile.classes)));
    good_ = hn::And(hn::And(hn::Eq(first, first), hn::Eq(tail_.high, tail_.high)),
                    hn::And(hn::Le(hn::Abs(max_), hn::Set(d, 1024.0F)),
                            hn::Le(hn::Abs(weight_), greatest_weight)));
  }

  HWY_INLINE void StoreLosses(const TileNumbers& numbers, FloatTile* tile) const {
    const D d;
    const V one = hn::Set(d, 1.0F);
    const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    const Pair below = TwoSum(max_, hn::Neg(Load(numbers.logit)));
    Pair loss = SumOfPositive(below.high, log_.high);
    // A logit of -inf: what infinity lost is NaN.
    loss.low = hn::IfThenElseZero(hn::Lt(loss.high, infinity),
                                  hn::Add(loss.low, hn::Add(below.low, log_.low)));
    const auto tiny = hn::And(tiny_tail_, hn::Eq(below.high, hn::Zero(d)));
    loss.high = hn::IfThenElse(tiny, scaled_tail_.high, loss.high);
    loss.low = hn::IfThenElse(tiny, scaled_tail_.low, loss.low);
    const V unit = hn::IfThenElse(tiny, unscale_, one);
    if (tile->logs) StoreLogs(loss, unit, tile);
    if (tile->class_weight != nullptr) {
      loss = Product(weight_, loss);
      loss.low = hn::IfThenElseZero(hn::Lt(hn::Abs(loss.high), infinity), loss.low);
    }
    const V rounded = hn::Mul(hn::Add(loss.high, loss.low), unit);
    const V counted = hn::IfThenZeroElse(hn::Eq(weight_, hn::Zero(d)), rounded);
    // Adding +0 turns a -0 into +0.
    hn::Store(hn::Add(counted, hn::Zero(d)), d, tile->losses + at_);
  }

  /// The factor of each lane and the label's own entry.
  HWY_INLINE void StoreFactors(const FloatTile& tile, TileNumbers* numbers) {
    const D d;
    const V inverse = hn::Div(hn::Set(d, 1.0F), norm_.high);
    const V scale = hn::Load(d, tile.scales + at_);
    // A label's absence wins over an infinite or NaN scale.
    const auto absent = hn::Lt(hn::ConvertTo(d, hn::Load(DI(), tile.labels + at_)), hn::Zero(d));
    const Pair own = {
        hn::IfThenZeroElse(absent, hn::Mul(weight_, scale)),
        hn::IfThenZeroElse(absent, FusedMulAdd(weight_, scale, hn::Neg(hn::Mul(weight_, scale))))};
    const V factor = hn::Mul(Quotient(Product(own, mantissa_), norm_, inverse), unscale_);
    hn::Store(factor, d, numbers->factor + at_);
    const V size = hn::Abs(factor);
    const auto fits = hn::And(hn::Gt(size, hn::Set(d, static_cast<float>(kLeastFactor))),
                              hn::Lt(size, hn::Set(d, static_cast<float>(kGreatestFactor))));
    good_ = hn::And(good_, hn::Or(fits, hn::Eq(size, hn::Zero(d))));

    // Minus the sum of the others. The maximum's own term is no part of the tail: nothing cancels.
    const V term = hn::Mul(Load(numbers->exponential), unscale_);
    const V label_term = FusedMulAdd(term, mantissa_.high, hn::Mul(term, mantissa_.low));
    Pair others = FastTwoSum(norm_.high, hn::Neg(label_term));
    others.low = hn::Add(others.low, norm_.low);
    const auto top = hn::Eq(hn::Load(DI(), tile.labels + at_), hn::Load(DI(), tile.argmax + at_));
    const auto is_top = hn::RebindMask(d, top);
    const auto tiny = hn::And(is_top, tiny_tail_);
    others.high = hn::IfThenElse(is_top, tail_.high, others.high);
    others.low = hn::IfThenElse(is_top, tail_.low, others.low);
    others.high = hn::IfThenElse(tiny, scaled_tail_.high, others.high);
    others.low = hn::IfThenElse(tiny, scaled_tail_.low, others.low);
    const V share = Quotient(others, norm_, inverse);
    const V entry = FusedMulAdd(own.low, share, hn::Mul(own.high, share));
    const V unit = hn::IfThenElse(tiny, unscale_, hn::Set(d, 1.0F));
    hn::Store(hn::Sub(hn::Zero(d), hn::Mul(entry, unit)), d, numbers->entry + at_);
  }

  /// Which lanes the passes serve: no NaN; maximum, weight and factor in range.
  HWY_INLINE void StoreGood(FloatTile* tile) const {
    const D d;
    if (HWY_LIKELY(hn::AllTrue(d, good_))) return;
    tile->all_good = false;
    HWY_ALIGN float good[kLanes];
    hn::Store(hn::IfThenElseZero(good_, hn::Set(d, 1.0F)), d, good);
    for (size_t i = 0; i < kLanes; ++i) tile->good[at_ + i] = good[i] != 0.0F;
  }

 private:
  HWY_INLINE V Load(const float* numbers) const { return hn::Load(D(), numbers + at_); }

  /// -l_y and log-sum-exp, in double.
  HWY_INLINE void StoreLogs(const Pair& negative_log, V unit, FloatTile* tile) const {
    const D d;
    HWY_ALIGN float lanes[6][kLanes];
    hn::Store(negative_log.high, d, lanes[0]);
    hn::Store(negative_log.low, d, lanes[1]);
    hn::Store(unit, d, lanes[2]);
    hn::Store(max_, d, lanes[3]);
    hn::Store(log_.high, d, lanes[4]);
    hn::Store(log_.low, d, lanes[5]);
    for (size_t i = 0; i < kLanes; ++i) {
      const auto at = [&](size_t which) { return static_cast<double>(lanes[which][i]); };
      tile->negative_logs[at_ + i] = (at(0) + at(1)) * at(2);
      tile->log_sum_exps[at_ + i] = at(3) + (at(4) + at(5));
    }
  }

  size_t at_;
  V max_;
  V weight_;
  V unscale_;
  Pair mantissa_;     ///< exp(-max) times a power of two.
  Pair scaled_tail_;  ///< Relative to exp(max), times 2^61.
  Pair tail_;
  Pair norm_;  ///< 1 + tail
  Pair log_;   ///< log(1 + tail)
  hn::Mask<D> tiny_tail_;
  hn::Mask<D> good_;
};

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
  for (size_t at = 0; at < tile->step; at += kLanes) {
    const V factor = hn::Load(d, numbers.factor + at);
    float* gradient = tile->gradients + at;
    for (size_t c = 0; c < tile->classes; ++c, gradient += tile->step) {
      // Adding +0 turns a -0 of a negative factor into +0.
      hn::Store(hn::Add(hn::Mul(hn::Load(d, gradient), factor), hn::Zero(d)), d, gradient);
    }
  }
  for (size_t i = 0; i < tile->step; ++i) {
    const int32_t label = tile->labels[i];
    if (label >= 0) {
      tile->gradients[static_cast<size_t>(label) * tile->step + i] = numbers.entry[i];
    }
  }
}

template <bool kGradient>
HWY_INLINE void EvaluateTileWith(FloatTile* tile) {
  TileNumbers numbers;
  for (size_t begin = 0; begin < tile->step; begin += kGroup) {
    FindGroupMaxima(tile, begin, &numbers);
    SumGroup<kGradient>(tile, begin, &numbers);
  }
  GatherByLabel(*tile, &numbers);
  tile->all_good = true;
  std::fill(tile->good, tile->good + tile->step, true);
  for (size_t at = 0; at < tile->step; at += kLanes) {
    TileLanes lanes(*tile, numbers, at);
    lanes.StoreLosses(numbers, tile);
    if (kGradient) lanes.StoreFactors(*tile, &numbers);
    lanes.StoreGood(tile);
  }
  SumLosses(tile);
  if (kGradient) FindGradients(numbers, tile);
}

inline void EvaluateTile(FloatTile* tile) {
  if (tile->gradient) return EvaluateTileWith<true>(tile);
  EvaluateTileWith<false>(tile);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_FLOAT_TILE_INL_H_
