// Sixteen positions of few classes, one in each lane, compiled once for each instruction set: no
// lane is wasted on two classes, and the few numbers of a row that are taken in double are taken
// for all at once.

#if defined(LOSSD_CORE_FLOAT_GROUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_FLOAT_GROUP_INL_H_
#undef LOSSD_CORE_FLOAT_GROUP_INL_H_
#else
#define LOSSD_CORE_FLOAT_GROUP_INL_H_
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/float_row.h"
#include "core/float_vec-inl.h"
#include "core/math.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

static_assert(kBlock == kGroup);

/// What the vector passes leave for the passes in double, by lane.
struct GroupStats {
  HWY_ALIGN float max[kGroup];
  HWY_ALIGN float max_exponent[kGroup];
  HWY_ALIGN float at_label[kGroup];
  HWY_ALIGN float is_number[kGroup];  ///< 1 where no logit is NaN, else 0.
  HWY_ALIGN double tail[kGroup];
};

/// Maximum, tail and the target's logit of each lane; the group's gradients get the exponentials.
HWY_INLINE void AnalyzeGroup(FloatGroup* group, GroupStats* stats) {
  const D d;
  const DI di;
  Block tail_terms;
  TailSum tail;
  Block max;
  Block found;
  Block argmax;
  Block at_label;
  ScaledExp exp[kParts];
  for (size_t p = 0; p < kParts; ++p) {
    const size_t lane = p * kLanes;
    V top = hn::Load(d, group->logits + lane);
    V number = hn::IfThenZeroElse(hn::IsNaN(top), hn::Set(d, 1.0F));
    for (size_t c = 1; c < group->classes; ++c) {
      const V x = hn::Load(d, group->logits + c * kGroup + lane);
      number = hn::IfThenZeroElse(hn::IsNaN(x), number);
      top = hn::Max(top, x);
    }
    const V shifted = ScaledExp::ShiftedExponent(top);
    exp[p] = ScaledExp(top, shifted);
    hn::Store(top, d, stats->max + lane);
    hn::Store(number, d, stats->is_number + lane);
    hn::Store(hn::Sub(shifted, hn::Set(d, kMagic)), d, stats->max_exponent + lane);
    max.parts[p] = top;
    found.parts[p] = argmax.parts[p] = at_label.parts[p] = hn::Zero(d);
  }
  for (size_t c = 0; c < group->classes; ++c) {
    for (size_t p = 0; p < kParts; ++p) {
      const size_t at = c * kGroup + p * kLanes;
      const V x = hn::Load(d, group->logits + at);
      const V e = exp[p](x);
      hn::Store(e, d, group->gradients + at);
      // The first maximum stays out of the tail, so that a tiny remainder keeps all its bits.
      const auto first = hn::And(hn::Eq(x, max.parts[p]), hn::Eq(found.parts[p], hn::Zero(d)));
      found.parts[p] = hn::IfThenElse(first, hn::Set(d, 1.0F), found.parts[p]);
      argmax.parts[p] = hn::IfThenElse(first, hn::Set(d, static_cast<float>(c)), argmax.parts[p]);
      tail_terms.parts[p] = hn::IfThenZeroElse(first, e);
      const auto label =
          hn::Eq(hn::Load(di, group->labels + p * kLanes), hn::Set(di, static_cast<int32_t>(c)));
      at_label.parts[p] = hn::IfThenElse(hn::RebindMask(d, label), x, at_label.parts[p]);
    }
    tail.AddOne(tail_terms);
  }
  tail.StoreTo(stats->tail);
  for (size_t p = 0; p < kParts; ++p) {
    hn::Store(at_label.parts[p], d, stats->at_label + p * kLanes);
    hn::Store(hn::ConvertTo(di, argmax.parts[p]), di, group->argmax + p * kLanes);
  }
}

/// Multiplies the exponentials by each lane's factor and puts the target's own entries in.
HWY_INLINE void FinishGradients(FloatGroup* group, const float* factors, const float* own_entries) {
  const D d;
  const DI di;
  for (size_t c = 0; c < group->classes; ++c) {
    for (size_t p = 0; p < kParts; ++p) {
      float* at = group->gradients + c * kGroup + p * kLanes;
      // Adding +0 turns a -0 of a negative factor into +0.
      const V g = hn::Add(hn::Mul(hn::Load(d, at), hn::Load(d, factors + p * kLanes)), hn::Zero(d));
      const auto label =
          hn::Eq(hn::Load(di, group->labels + p * kLanes), hn::Set(di, static_cast<int32_t>(c)));
      hn::Store(hn::IfThenElse(hn::RebindMask(d, label), hn::Load(d, own_entries + p * kLanes), g),
                d, at);
    }
  }
}

/// Arrays of one number for each lane. The loops over them hold plain double arithmetic without
/// branches: the compiler makes vectors of them, and -ffp-contract=off keeps their bits.
struct GroupDoubles {
  HWY_ALIGN double max[kGroup];
  HWY_ALIGN double mantissa[kGroup];  ///< exp(max) 2^-k
  HWY_ALIGN double tail[kGroup];
  HWY_ALIGN double difference[kGroup];  ///< x_y - max
};

HWY_INLINE void FindLosses(const GroupStats& stats, FloatGroup* group, GroupDoubles* doubles) {
  HWY_ALIGN double k[kGroup];
  for (size_t i = 0; i < kGroup; ++i) {
    doubles->max[i] = static_cast<double>(stats.max[i]);
    k[i] = static_cast<double>(stats.max_exponent[i]);
    doubles->difference[i] = static_cast<double>(stats.at_label[i]) - doubles->max[i];
  }
  for (size_t i = 0; i < kGroup; ++i) {
    doubles->mantissa[i] = ExpMantissa(doubles->max[i], k[i]);
  }
  for (size_t i = 0; i < kGroup; ++i) {
    doubles->tail[i] = stats.tail[i] / doubles->mantissa[i] * 0x1p-64;
    const double log_norm = Log1pNonNegative(doubles->tail[i]);
    group->negative_logs[i] = log_norm - doubles->difference[i];
    group->log_sum_exps[i] = doubles->max[i] + log_norm;
  }
  for (size_t i = 0; i < kGroup; ++i) {
    constexpr float kRange = 1024.0F;
    group->good[i] = stats.is_number[i] != 0.0F && std::abs(stats.max[i]) <= kRange;
  }
}

HWY_INLINE void FindGradients(const GroupDoubles& doubles, FloatGroup* group) {
  HWY_ALIGN double factors[kGroup];
  HWY_ALIGN double own_entries[kGroup];
  HWY_ALIGN double at_label[kGroup];
  HWY_ALIGN float narrow_factors[kGroup];
  HWY_ALIGN float narrow_entries[kGroup];
  for (size_t i = 0; i < kGroup; ++i) {
    at_label[i] = ExpNonPositive(doubles.difference[i]);
  }
  for (size_t i = 0; i < kGroup; ++i) {
    const double norm = 1.0 + doubles.tail[i];
    factors[i] = group->own[i] / (norm * doubles.mantissa[i]) * 0x1p-64;
    // The maximum's own term is 1 and no part of the tail: nothing cancels.
    const double others = 1.0 + (doubles.tail[i] - at_label[i]);
    const bool top = group->labels[i] == group->argmax[i];
    own_entries[i] = -(group->own[i] / norm) * (top ? doubles.tail[i] : others);
  }
  for (size_t i = 0; i < kGroup; ++i) {
    group->good[i] = group->good[i] && FactorFits(factors[i]);
    narrow_factors[i] = static_cast<float>(factors[i]);
    narrow_entries[i] = static_cast<float>(own_entries[i]) + 0.0F;
  }
  FinishGradients(group, narrow_factors, narrow_entries);
}

inline void EvaluateFloatGroup(FloatGroup* group) {
  GroupStats stats;
  GroupDoubles doubles;
  AnalyzeGroup(group, &stats);
  FindLosses(stats, group, &doubles);
  if (group->gradient) FindGradients(doubles, group);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_FLOAT_GROUP_INL_H_
