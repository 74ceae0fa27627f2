// Tiles of few classes, sixteen positions at a time, one in each lane, compiled once for each
// instruction set: no lane is wasted on two classes, and the few numbers of a row that are taken in
// double are taken for all at once.

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

#include "core/float_vec-inl.h"
#include "core/math.h"
#include "core/row_kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

static_assert(kBlock == kGroup);

/// What the vector passes leave for the passes in double, by lane.
struct GroupStats {
  HWY_ALIGN float max[kGroup];
  HWY_ALIGN float max_exponent[kGroup];
  HWY_ALIGN float seen[kGroup];  ///< Sum of the logits: NaN where one of them is.
  HWY_ALIGN double tail[kGroup];
};

/// The maximum of each lane, its index and exponent.
HWY_INLINE void FindGroupMaxima(FloatTile* tile, size_t begin, GroupStats* stats) {
  const D d;
  const DI di;
  V top[kParts];
  V seen[kParts];
  V argmax[kParts];
  V index = hn::Zero(d);
  const float* from = tile->logits + begin;
  for (size_t p = 0; p < kParts; ++p) {
    top[p] = seen[p] = hn::Load(d, from + p * kLanes);
    argmax[p] = index;
  }
  for (size_t c = 1; c < tile->classes; ++c) {
    from += tile->step;
    index = hn::Add(index, hn::Set(d, 1.0F));
    for (size_t p = 0; p < kParts; ++p) {
      const V x = hn::Load(d, from + p * kLanes);
      argmax[p] = hn::IfThenElse(hn::Gt(x, top[p]), index, argmax[p]);
      top[p] = hn::Max(x, top[p]);
      seen[p] = hn::Add(seen[p], x);
    }
  }
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    hn::Store(top[p], d, stats->max + lane);
    hn::Store(seen[p], d, stats->seen + lane);
    hn::Store(ScaledExp::NearestExponent(top[p]), d, stats->max_exponent + lane);
    hn::Store(hn::ConvertTo(di, argmax[p]), di, tile->argmax + begin + lane);
  }
}

/// Exponentials of a few classes, with kKeep kept for the gradients.
template <bool kKeep, size_t kCount>
HWY_INLINE void ExponentialsOf(const ScaledExp& exp, size_t step, const float* from, float* to,
                               V (&e)[kCount]) {
  for (size_t j = 0; j < kCount; ++j) e[j] = hn::Load(D(), from + j * step);
  exp.Apply(e);
  for (size_t j = 0; kKeep && j < kCount; ++j) hn::Store(e[j], D(), to + j * step);
}

/// The tail of each lane; with kKeep the tile's gradients get the exponentials.
template <bool kKeep>
HWY_INLINE void SumGroup(FloatTile* tile, size_t begin, GroupStats* stats) {
  const D d;
  const DI di;
  LaneSums tail;
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    const V argmax = hn::ConvertTo(d, hn::Load(di, tile->argmax + begin + lane));
    const ScaledExp exp(hn::Load(d, stats->max + lane), hn::Load(d, stats->max_exponent + lane));
    const float* from = tile->logits + begin + lane;
    float* to = tile->gradients + begin + lane;
    // The first maximum stays out of the tail, so that a tiny remainder keeps all its bits.
    size_t c = 0;
    for (; c + 4 <= tile->classes; c += 4) {
      V e[4];
      ExponentialsOf<kKeep>(exp, tile->step, from, to, e);
      for (size_t j = 0; j < 4; ++j) {
        const auto top = hn::Eq(hn::Set(d, static_cast<float>(c + j)), argmax);
        tail.Add(p, hn::IfThenZeroElse(top, e[j]));
      }
      from += 4 * tile->step;
      to += 4 * tile->step;
    }
    for (; c < tile->classes; ++c) {
      V e[1];
      ExponentialsOf<kKeep>(exp, tile->step, from, to, e);
      tail.Add(p, hn::IfThenZeroElse(hn::Eq(hn::Set(d, static_cast<float>(c)), argmax), e[0]));
      from += tile->step;
      to += tile->step;
    }
  }
  tail.StoreTo(stats->tail);
}

using DoubleD = hn::CappedTag<double, 8>;
using DoubleV = hn::Vec<DoubleD>;
constexpr size_t kDoubles = hn::MaxLanes(DoubleD());
/// Vectors that go through each step together: one by one, their long chains of dependent
/// operations would wait for each other.
constexpr size_t kBatch = HWY_MIN(size_t{4}, kGroup / kDoubles);
using Batch = DoubleV[kBatch];

HWY_INLINE DoubleV SetDouble(double value) { return hn::Set(DoubleD(), value); }
HWY_INLINE DoubleV LoadFloats(const float* from) {
  return hn::PromoteTo(DoubleD(), hn::Load(hn::Rebind<float, DoubleD>(), from));
}
HWY_INLINE void StoreFloats(DoubleV v, float* to) {
  // Adding +0 turns a -0 into +0.
#if HWY_TARGET == HWY_SCALAR
  // Highway's own makes finite numbers of infinities here.
  to[0] = static_cast<float>(hn::GetLane(v)) + 0.0F;
#else
  const hn::Rebind<float, DoubleD> d;
  hn::Store(hn::Add(hn::DemoteTo(d, v), hn::Zero(d)), d, to);
#endif
}
/// to = a x + b, rounded twice.
HWY_INLINE void ProductPlus(double a, const Batch& x, double b, Batch& to) {
  for (size_t j = 0; j < kBatch; ++j) {
    to[j] = hn::Add(hn::Mul(SetDouble(a), x[j]), SetDouble(b));
  }
}
/// to += a b, rounded twice.
HWY_INLINE void AddProduct(const Batch& a, const Batch& b, Batch& to) {
  for (size_t j = 0; j < kBatch; ++j) to[j] = hn::Add(to[j], hn::Mul(a[j], b[j]));
}
HWY_INLINE void Square(const Batch& x, Batch& to) {
  for (size_t j = 0; j < kBatch; ++j) to[j] = hn::Mul(x[j], x[j]);
}

/// e^x 2^-k for the integer k nearest to x / ln 2 or next to it, within 2^-31: enough for what is
/// rounded to float32. Taylor series to degree 8, by Estrin's scheme.
HWY_INLINE void ShortExpMantissa(const Batch& x, const Batch& k, Batch& result) {
  Batch r;
  Batch r2;
  Batch r4;
  Batch high;
  Batch middle;
  for (size_t j = 0; j < kBatch; ++j) {
    r[j] = hn::Sub(hn::Sub(x[j], hn::Mul(k[j], SetDouble(0x1.62e42fee00000p-1))),
                   hn::Mul(k[j], SetDouble(0x1.a39ef35793c76p-33)));
  }
  Square(r, r2);
  ProductPlus(1.0 / 40320.0, r, 1.0 / 5040.0, high);
  ProductPlus(1.0 / 720.0, r, 1.0 / 120.0, middle);
  AddProduct(high, r2, middle);
  ProductPlus(1.0 / 24.0, r, 1.0 / 6.0, high);
  Square(r2, r4);
  ProductPlus(0.5, r, 1.0, result);
  for (size_t j = 0; j < kBatch; ++j) {
    // r (1 + r / 2) + r^3 (1/6 + r / 24) + r^5 (...), then 1.
    result[j] = hn::Mul(result[j], r[j]);
    high[j] = hn::Mul(high[j], r[j]);
    middle[j] = hn::Mul(middle[j], r[j]);
  }
  AddProduct(middle, r4, result);
  AddProduct(high, r2, result);
  for (DoubleV& v : result) v = hn::Add(SetDouble(1.0), v);
}

/// log(1 + x) for x >= 0, within 2^-33: enough for what is rounded to float32.
///
/// As Log1pNonNegative, with atanh's own series to s^11 and without what rounding 1 + x lost, which
/// matters to no x that is reduced.
HWY_INLINE void ShortLog1p(const Batch& x, Batch& result) {
  const DoubleD d;
  const hn::RebindToUnsigned<DoubleD> du;
  const DoubleV one = SetDouble(1.0);
  Batch k;
  Batch s;
  for (size_t j = 0; j < kBatch; ++j) {
    const auto far = hn::Ge(x[j], SetDouble(0.41421356237309503));
    const auto bits = hn::BitCast(du, hn::Add(one, x[j]));
    const auto fraction = hn::And(bits, hn::Set(du, uint64_t{0xFFFFFFFFFFFFF}));
    DoubleV f = hn::BitCast(d, hn::Or(fraction, hn::Set(du, uint64_t{1023} << 52U)));
    const auto upper = hn::Ge(f, SetDouble(1.4142135623730951));
    f = hn::IfThenElse(upper, hn::Mul(f, SetDouble(0.5)), f);
    // The biased exponent as a double: put below the leading bit of 2^52.
    const auto biased = hn::Or(hn::ShiftRight<52>(bits), hn::Set(du, uint64_t{0x433} << 52U));
    const DoubleV bias = hn::IfThenElse(upper, SetDouble(0x1p52 + 1022), SetDouble(0x1p52 + 1023));
    k[j] = hn::IfThenElseZero(far, hn::Sub(hn::BitCast(d, biased), bias));
    const DoubleV g = hn::IfThenElse(far, hn::Sub(f, one), x[j]);
    s[j] = hn::Div(g, hn::Add(SetDouble(2.0), g));
  }
  Batch z;
  Batch z2;
  Batch high;
  Batch middle;
  Square(s, z);
  Square(z, z2);
  ProductPlus(2.0 / 11.0, z, 2.0 / 9.0, high);
  ProductPlus(2.0 / 7.0, z, 2.0 / 5.0, middle);
  AddProduct(high, z2, middle);
  ProductPlus(2.0 / 3.0, z, 2.0, result);
  AddProduct(middle, z2, result);
  for (size_t j = 0; j < kBatch; ++j) {
    result[j] = hn::Add(hn::Mul(result[j], s[j]), hn::Mul(k[j], SetDouble(0x1.62e42fefa39efp-1)));
  }
}

/// Numbers of a group that losses and gradients share.
struct GroupDoubles {
  HWY_ALIGN double weights[kGroup];
  HWY_ALIGN double own[kGroup];       ///< Weight and scale; 0 without a label.
  HWY_ALIGN double mantissa[kGroup];  ///< exp(max) 2^-k
  HWY_ALIGN double tail[kGroup];      ///< Relative to exp(max).
};

HWY_INLINE void FillWeights(const FloatTile& tile, size_t begin, GroupDoubles* doubles) {
  const int32_t* labels = tile.labels + begin;
  if (tile.class_weight == nullptr) {
    for (size_t i = 0; i < kGroup; ++i) doubles->weights[i] = labels[i] < 0 ? 0.0 : 1.0;
  } else {
    for (size_t i = 0; i < kGroup; ++i) {
      doubles->weights[i] = labels[i] < 0 ? 0.0 : tile.class_weight[labels[i]];
    }
  }
  // A label's absence wins over an infinite or NaN scale.
  const double* scales = tile.scales + begin;
  for (size_t i = 0; i < kGroup; ++i) {
    const double own = doubles->weights[i] * scales[i];
    doubles->own[i] = labels[i] < 0 ? 0.0 : own;
  }
}

HWY_INLINE void FindLosses(const GroupStats& stats, FloatTile* tile, size_t begin,
                           GroupDoubles* doubles) {
  const DoubleD d;
  HWY_ALIGN float at_label[kGroup];
  for (size_t i = 0; i < kGroup; ++i) {
    const auto label = static_cast<size_t>(std::max(tile->labels[begin + i], 0));
    at_label[i] = tile->logits[label * tile->step + begin + i];
  }
  for (size_t i = 0; i < kGroup; i += kBatch * kDoubles) {
    Batch max;
    Batch mantissa;
    Batch tail;
    Batch log_norm;
    for (size_t j = 0; j < kBatch; ++j) {
      max[j] = LoadFloats(stats.max + i + j * kDoubles);
      tail[j] = LoadFloats(stats.max_exponent + i + j * kDoubles);
    }
    ShortExpMantissa(max, tail, mantissa);
    for (size_t j = 0; j < kBatch; ++j) {
      const DoubleV sum = hn::Load(d, stats.tail + i + j * kDoubles);
      tail[j] = hn::Div(hn::Mul(sum, SetDouble(kExponentialScale)), mantissa[j]);
    }
    ShortLog1p(tail, log_norm);
    for (size_t j = 0; j < kBatch; ++j) {
      const size_t lane = i + j * kDoubles;
      const DoubleV logit = LoadFloats(at_label + lane);
      const DoubleV negative_log = hn::Add(hn::Sub(max[j], logit), log_norm[j]);
      const DoubleV weight = hn::Load(d, doubles->weights + lane);
      const DoubleV loss = hn::Mul(weight, negative_log);
      StoreFloats(hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), loss),
                  tile->losses + begin + lane);
      hn::Store(mantissa[j], d, doubles->mantissa + lane);
      hn::Store(tail[j], d, doubles->tail + lane);
      hn::Store(negative_log, d, tile->negative_logs + begin + lane);
      hn::Store(hn::Add(max[j], log_norm[j]), d, tile->log_sum_exps + begin + lane);
    }
  }
}

/// Which lanes the passes serve: no NaN, maximum and weight in range.
HWY_INLINE void FindGood(const GroupStats& stats, const GroupDoubles& doubles, FloatTile* tile,
                         size_t begin) {
  const D d;
  const V most = hn::Set(d, 1024.0F);
  bool all = true;
  for (size_t p = 0; p < kParts; ++p) {
    const V seen = hn::Load(d, stats.seen + p * kLanes);
    const V max = hn::Load(d, stats.max + p * kLanes);
    all &= hn::AllTrue(d, hn::And(hn::Eq(seen, seen), hn::Le(hn::Abs(max), most)));
  }
  std::fill(tile->good + begin, tile->good + begin + kGroup, true);
  if (HWY_LIKELY(all && tile->class_weight == nullptr)) return;
  const double greatest_weight = GreatestWeight(tile->classes);
  for (size_t i = 0; i < kGroup; ++i) {
    const bool number = stats.seen[i] == stats.seen[i];
    const bool good = number && std::abs(stats.max[i]) <= 1024.0F &&
                      std::abs(doubles.weights[i]) <= greatest_weight;
    tile->good[begin + i] = good;
    tile->all_good = tile->all_good && good;
  }
}

/// The factor of each lane and the label's own entry.
HWY_INLINE void FindFactors(const GroupDoubles& doubles, FloatTile* tile, size_t begin,
                            float* factors, float* entries) {
  const DoubleD d;
  HWY_ALIGN float at_label[kGroup];
  HWY_ALIGN double is_top[kGroup];
  for (size_t i = 0; i < kGroup; ++i) {
    const auto label = static_cast<size_t>(std::max(tile->labels[begin + i], 0));
    at_label[i] = tile->gradients[label * tile->step + begin + i];
    is_top[i] = tile->labels[begin + i] == tile->argmax[begin + i] ? 1.0 : 0.0;
  }
  bool all = true;
  for (size_t i = 0; i < kGroup; i += kDoubles) {
    const DoubleV mantissa = hn::Load(d, doubles.mantissa + i);
    const DoubleV tail = hn::Mul(hn::Load(d, doubles.tail + i), mantissa);
    const DoubleV ratio = hn::Div(hn::Load(d, doubles.own + i), hn::Add(mantissa, tail));
    // The maximum's own term is no part of the tail: nothing cancels.
    const DoubleV label_term = hn::Mul(LoadFloats(at_label + i), SetDouble(kExponentialScale));
    const auto top = hn::Ne(hn::Load(d, is_top + i), hn::Zero(d));
    const DoubleV others = hn::IfThenElse(top, tail, hn::Add(mantissa, hn::Sub(tail, label_term)));
    const DoubleV factor = hn::Mul(ratio, SetDouble(kExponentialScale));
    StoreFloats(factor, factors + i);
    StoreFloats(hn::Neg(hn::Mul(ratio, others)), entries + i);
    const DoubleV size = hn::Abs(factor);
    const auto fits =
        hn::And(hn::Gt(size, SetDouble(kLeastFactor)), hn::Lt(size, SetDouble(kGreatestFactor)));
    const auto good = hn::Or(fits, hn::Eq(size, hn::Zero(d)));
    if (HWY_LIKELY(hn::AllTrue(d, good))) continue;
    all = false;
    HWY_ALIGN double sizes[kDoubles];
    hn::Store(factor, d, sizes);
    for (size_t j = 0; j < kDoubles; ++j) {
      tile->good[begin + i + j] = tile->good[begin + i + j] && FactorFits(sizes[j]);
    }
  }
  tile->all_good = tile->all_good && all;
}

/// Multiplies the exponentials by each lane's factor and puts the labels' own entries in.
HWY_INLINE void FindGradients(const GroupDoubles& doubles, FloatTile* tile, size_t begin) {
  const D d;
  HWY_ALIGN float factors[kGroup];
  HWY_ALIGN float entries[kGroup];
  FindFactors(doubles, tile, begin, factors, entries);
  for (size_t p = 0; p < kParts; ++p) {
    float* at = tile->gradients + begin + p * kLanes;
    const V factor = hn::Load(d, factors + p * kLanes);
    for (size_t c = 0; c < tile->classes; ++c, at += tile->step) {
      // Adding +0 turns a -0 of a negative factor into +0.
      hn::Store(hn::Add(hn::Mul(hn::Load(d, at), factor), hn::Zero(d)), d, at);
    }
  }
  for (size_t i = 0; i < kGroup; ++i) {
    const int32_t label = tile->labels[begin + i];
    if (label >= 0) {
      tile->gradients[static_cast<size_t>(label) * tile->step + begin + i] = entries[i];
    }
  }
}

inline void EvaluateTile(FloatTile* tile) {
  tile->all_good = true;
  for (size_t begin = 0; begin < tile->step; begin += kGroup) {
    GroupStats stats;
    GroupDoubles doubles;
    FindGroupMaxima(tile, begin, &stats);
    if (tile->gradient) {
      SumGroup<true>(tile, begin, &stats);
    } else {
      SumGroup<false>(tile, begin, &stats);
    }
    FillWeights(*tile, begin, &doubles);
    FindGood(stats, doubles, tile, begin);
    FindLosses(stats, tile, begin, &doubles);
    if (tile->gradient) FindGradients(doubles, tile, begin);
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_FLOAT_TILE_INL_H_
