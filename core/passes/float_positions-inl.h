// Computes the numbers of a tile's positions, from sums of exponentials to losses and factors.
// Compiled once for each instruction set.

#if defined(LOSSD_CORE_PASSES_FLOAT_POSITIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_FLOAT_POSITIONS_INL_H_
#undef LOSSD_CORE_PASSES_FLOAT_POSITIONS_INL_H_
#else
#define LOSSD_CORE_PASSES_FLOAT_POSITIONS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <limits>

#include "core/passes/row_kernels.h"
#include "core/simd/float_pair-inl.h"
#include "core/simd/float_vec-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// Positions of a tile that go through each step together. They are so few that their numbers stay
/// in a first-level cache beside the tile.
constexpr size_t kShare = 64;
static_assert(kShare % kGroup == 0 && kTilePositions % kGroup == 0);

/// Pairs for the positions of a share.
struct PairLanes {
  HWY_ALIGN float high[kShare];
  HWY_ALIGN float low[kShare];
};

/// The numbers of positions [begin, begin + count) of a tile on the way to their losses and
/// gradients. Each step is a loop of its own: a single loop would be one chain of dependent
/// operations, too long for a processor to look ahead to the next vector.
///
/// Tails are kept times 2^61. A tail below 2^-40 is itself the loss if the label is the maximum. It
/// keeps its scale until the last step, the only one where it may become subnormal.
struct TileNumbers {
  size_t begin;
  size_t count;  ///< Whole groups.
  HWY_ALIGN float max[kShare];
  HWY_ALIGN float exponent[kShare];  ///< The exponent of exp(max), as from NearestExponent.
  PairLanes sum;                     ///< The exponentials but the maximum's, as from ScaledExp.
  PairLanes mantissa;                ///< exp(-max) / kExpFactor times a power of two.
  PairLanes tail;  ///< Sum of the exponentials but the maximum's over exp(max), times 2^61.
  PairLanes norm;  ///< 1 + tail
  PairLanes log;   ///< log(1 + tail)
  HWY_ALIGN float weight[kShare];
  HWY_ALIGN float logit[kShare];        ///< The label's.
  HWY_ALIGN float exponential[kShare];  ///< The label's, as from ScaledExp.
  HWY_ALIGN float factor[kShare];       ///< Multiplies the exponentials.
  HWY_ALIGN float entry[kShare];        ///< The gradient of the label's logit.
};

HWY_INLINE Pair LoadPair(const PairLanes& from, size_t at) {
  return {hn::Load(D(), from.high + at), hn::Load(D(), from.low + at)};
}
HWY_INLINE void StorePair(const Pair& pair, size_t at, PairLanes* to) {
  hn::Store(pair.high, D(), to->high + at);
  hn::Store(pair.low, D(), to->low + at);
}
HWY_INLINE Pair IfThenElse(hn::Mask<D> mask, const Pair& yes, const Pair& no) {
  return {hn::IfThenElse(mask, yes.high, no.high), hn::IfThenElse(mask, yes.low, no.low)};
}
HWY_INLINE V TailUnit() { return hn::Set(D(), static_cast<float>(kExponentialScale)); }
HWY_INLINE Pair Unscaled(const Pair& scaled) {
  return {hn::Mul(scaled.high, TailUnit()), hn::Mul(scaled.low, TailUnit())};
}
HWY_INLINE hn::Mask<D> IsTiny(const Pair& tail) { return hn::Lt(tail.high, hn::Set(D(), 0x1p21F)); }

HWY_INLINE void FindTails(TileNumbers* numbers) {
  for (size_t at = 0; at < numbers->count; at += kLanes) {
    const V max = hn::Load(D(), numbers->max + at);
    const V exponent = hn::Load(D(), numbers->exponent + at);
    const Pair mantissa = InverseMantissa(max, exponent);
    StorePair(mantissa, at, &numbers->mantissa);
    StorePair(Product(LoadPair(numbers->sum, at), mantissa), at, &numbers->tail);
  }
}

HWY_INLINE void FindLogs(TileNumbers* numbers) {
  for (size_t at = 0; at < numbers->count; at += kLanes) {
    Pair norm;
    StorePair(LogOnePlus(Unscaled(LoadPair(numbers->tail, at)), &norm), at, &numbers->log);
    StorePair(norm, at, &numbers->norm);
  }
}

/// Stores -l_y and log-sum-exp of one vector of positions, in double.
HWY_INLINE void StoreLogs(const TileNumbers& numbers, const Pair& negative_log, V unit, size_t at,
                          FloatTile* tile) {
  HWY_ALIGN float high[kLanes];
  HWY_ALIGN float low[kLanes];
  HWY_ALIGN float units[kLanes];
  hn::Store(negative_log.high, D(), high);
  hn::Store(negative_log.low, D(), low);
  hn::Store(unit, D(), units);
  const auto wide = [](float value) { return static_cast<double>(value); };
  for (size_t i = 0; i < kLanes; ++i) {
    const size_t to = numbers.begin + at + i;
    tile->negative_logs[to] = (wide(high[i]) + wide(low[i])) * wide(units[i]);
    tile->log_sum_exps[to] = wide(numbers.max[at + i]) +
                             (wide(numbers.log.high[at + i]) + wide(numbers.log.low[at + i]));
  }
}

HWY_INLINE void FindLosses(const TileNumbers& numbers, FloatTile* tile) {
  const D d;
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  for (size_t at = 0; at < numbers.count; at += kLanes) {
    const Pair tail = LoadPair(numbers.tail, at);
    const Pair log = LoadPair(numbers.log, at);
    const V logit = hn::Load(d, numbers.logit + at);
    const Pair below = TwoSum(hn::Load(d, numbers.max + at), hn::Neg(logit));
    Pair loss = SumOfPositive(below.high, log.high);
    // If the logit is -inf, the rounding error of the infinite loss is NaN: drop it.
    loss.low = hn::IfThenElseZero(hn::Lt(loss.high, infinity),
                                  hn::Add(loss.low, hn::Add(below.low, log.low)));
    const auto tiny = hn::And(IsTiny(tail), hn::Eq(below.high, hn::Zero(d)));
    loss = IfThenElse(tiny, tail, loss);
    const V unit = hn::IfThenElse(tiny, TailUnit(), hn::Set(d, 1.0F));
    if (tile->logs) StoreLogs(numbers, loss, unit, at, tile);
    const V weight = hn::Load(d, numbers.weight + at);
    if (tile->class_weight != nullptr) {
      loss = Product(weight, loss);
      loss.low = hn::IfThenElseZero(hn::Lt(hn::Abs(loss.high), infinity), loss.low);
    }
    const V rounded = hn::Mul(hn::Add(loss.high, loss.low), unit);
    const V counted = hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), rounded);
    // Adding +0 turns a -0 into +0.
    hn::Store(hn::Add(counted, hn::Zero(d)), d, tile->losses + numbers.begin + at);
  }
}

/// The factor of a position's gradient, weight times scale; 0 without a label, whatever the scale.
HWY_INLINE Pair OwnFactor(const FloatTile& tile, const TileNumbers& numbers, size_t at) {
  const D d;
  const V weight = hn::Load(d, numbers.weight + at);
  const V scale = hn::Load(d, tile.scales + numbers.begin + at);
  const V label = hn::ConvertTo(d, hn::Load(DI(), tile.labels + numbers.begin + at));
  const auto absent = hn::Lt(label, hn::Zero(d));
  const V high = hn::Mul(weight, scale);
  const V low = FusedMulAdd(weight, scale, hn::Neg(high));
  return {hn::IfThenZeroElse(absent, high), hn::IfThenZeroElse(absent, low)};
}

/// Finds the factor of each lane, and the label's own entry: minus the sum of the others. If the
/// label is the maximum, that sum is the tail, of which the maximum's own term is no part, so that
/// nothing cancels.
HWY_INLINE void FindFactors(const FloatTile& tile, TileNumbers* numbers) {
  const D d;
  const V one = hn::Set(d, 1.0F);
  for (size_t at = 0; at < numbers->count; at += kLanes) {
    const Pair own = OwnFactor(tile, *numbers, at);
    const Pair mantissa = LoadPair(numbers->mantissa, at);
    const Pair norm = LoadPair(numbers->norm, at);
    const Pair tail = LoadPair(numbers->tail, at);
    const V inverse = hn::Div(one, norm.high);
    const V factor = Quotient(Product(own, mantissa), norm, inverse);
    // A factor that underflows to 0, while weight times scale is not 0, must not look like a weight
    // of 0.
    const V scaled = hn::Mul(factor, TailUnit());
    const auto lost = hn::AndNot(hn::Eq(own.high, hn::Zero(d)), hn::Eq(scaled, hn::Zero(d)));
    const V least = hn::Set(d, std::numeric_limits<float>::denorm_min());
    hn::Store(hn::IfThenElse(lost, least, scaled), d, numbers->factor + at);

    const V term = hn::Mul(hn::Load(d, numbers->exponential + at), TailUnit());
    const V label_term = FusedMulAdd(term, mantissa.high, hn::Mul(term, mantissa.low));
    Pair others = FastTwoSum(norm.high, hn::Neg(label_term));
    others.low = hn::Add(others.low, norm.low);
    const auto label = hn::Load(DI(), tile.labels + numbers->begin + at);
    const auto argmax = hn::Load(DI(), tile.argmax + numbers->begin + at);
    const auto top = hn::RebindMask(d, hn::Eq(label, argmax));
    const auto tiny = hn::And(top, IsTiny(tail));
    others = IfThenElse(top, IfThenElse(tiny, tail, Unscaled(tail)), others);
    const V share = Quotient(others, norm, inverse);
    const V entry = FusedMulAdd(own.low, share, hn::Mul(own.high, share));
    const V unit = hn::IfThenElse(tiny, TailUnit(), one);
    hn::Store(hn::Sub(hn::Zero(d), hn::Mul(entry, unit)), d, numbers->entry + at);
  }
}

/// Finds the lanes that these passes serve: no NaN, and maximum, weight and factor in range.
HWY_INLINE void FindGood(const TileNumbers& numbers, FloatTile* tile) {
  const D d;
  std::fill_n(tile->good + numbers.begin, numbers.count, true);
  const V greatest_weight = hn::Set(d, static_cast<float>(GreatestWeight(tile->classes)));
  const V least = hn::Set(d, static_cast<float>(kLeastFactor));
  const V greatest = hn::Set(d, static_cast<float>(kGreatestFactor));
  for (size_t at = 0; at < numbers.count; at += kLanes) {
    // A NaN at class 0 is taken for the maximum; elsewhere it is in the tail.
    const V first = hn::Load(d, tile->logits + numbers.begin + at);
    const V tail = hn::Load(d, numbers.tail.high + at);
    auto good = hn::And(hn::Eq(first, first), hn::Eq(tail, tail));
    const V max = hn::Abs(hn::Load(d, numbers.max + at));
    const V weight = hn::Abs(hn::Load(d, numbers.weight + at));
    good = hn::And(good, hn::Le(max, hn::Set(d, 1024.0F)));
    good = hn::And(good, hn::Le(weight, greatest_weight));
    if (tile->gradient) {
      const V factor = hn::Abs(hn::Load(d, numbers.factor + at));
      const auto fits = hn::And(hn::Gt(factor, least), hn::Lt(factor, greatest));
      good = hn::And(good, hn::Or(fits, hn::Eq(factor, hn::Zero(d))));
    }
    if (HWY_LIKELY(hn::AllTrue(d, good))) continue;
    tile->all_good = false;
    HWY_ALIGN float lanes[kLanes];
    hn::Store(hn::IfThenElseZero(good, hn::Set(d, 1.0F)), d, lanes);
    for (size_t i = 0; i < kLanes; ++i) tile->good[numbers.begin + at + i] = lanes[i] != 0.0F;
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_FLOAT_POSITIONS_INL_H_
