// The passes over one row of float_row.h, compiled once for each instruction set.

#if defined(LOSSD_CORE_FLOAT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_FLOAT_ROW_INL_H_
#undef LOSSD_CORE_FLOAT_ROW_INL_H_
#else
#define LOSSD_CORE_FLOAT_ROW_INL_H_
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

/// The maximum, its first index, and whether the row is valid.
HWY_INLINE FloatRowStats FindMaximum(const float* x, size_t classes) {
  const D d;
  const V lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  // Four maxima: one would wait for itself in every step.
  V max[4] = {lowest, lowest, lowest, lowest};
  auto nan = hn::FirstN(d, 0);
  size_t begin = 0;
  while (begin + 4 * kLanes <= classes) {
    for (V& part : max) {
      const V v = hn::LoadU(d, x + begin);
      nan = hn::Or(nan, hn::IsNaN(v));
      part = hn::Max(part, v);
      begin += kLanes;
    }
  }
  for (; begin < classes; begin += kBlock) {
    const Block block = LoadBlock(x, begin, classes);
    for (const V& part : block.parts) {
      nan = hn::Or(nan, hn::IsNaN(part));
      max[0] = hn::Max(max[0], part);
    }
  }
  FloatRowStats stats;
  stats.max =
      hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(max[0], max[1]), hn::Max(max[2], max[3]))));
  stats.valid = hn::AllFalse(d, nan) && std::isfinite(stats.max);
  if (!stats.valid) return stats;
  const V top = hn::Set(d, stats.max);
  for (size_t i = 0;; i += kBlock) {
    const Block block = LoadBlock(x, i, classes);
    for (size_t p = 0; p < kParts; ++p) {
      const auto found = hn::FindFirstTrue(d, hn::Eq(block.parts[p], top));
      if (found < 0) continue;
      stats.argmax = static_cast<int64_t>(i + p * kLanes) + static_cast<int64_t>(found);
      return stats;
    }
  }
}

/// Four blocks that may reach beyond the row's end or hold the maximum.
HWY_INLINE void AddFourWithCare(const float* x, size_t begin, size_t classes, size_t argmax,
                                const ScaledExp& exp, TailSum* sum) {
  const D d;
  Block e[4];
  for (Block& terms : e) {
    if (begin >= classes) {
      for (V& part : terms.parts) part = hn::Zero(d);
      continue;
    }
    const Block block = LoadBlock(x, begin, classes);
    for (size_t p = 0; p < kParts; ++p) terms.parts[p] = exp(block.parts[p]);
    if (argmax - begin < kBlock) {
      // The maximum stays out of the sum, so that a tiny remainder keeps all its bits.
      HWY_ALIGN float lanes[kBlock];
      for (size_t p = 0; p < kParts; ++p) hn::Store(terms.parts[p], d, lanes + p * kLanes);
      lanes[argmax - begin] = 0.0F;
      for (size_t p = 0; p < kParts; ++p) terms.parts[p] = hn::Load(d, lanes + p * kLanes);
    }
    begin += kBlock;
  }
  sum->AddFour(e);
}

HWY_INLINE double SumTail(const float* x, size_t classes, const FloatRowStats& stats) {
  const D d;
  const ScaledExp exp(stats.max, stats.max_exponent);
  const auto argmax = static_cast<size_t>(stats.argmax);
  constexpr size_t kFour = 4 * kBlock;
  TailSum sum;
  for (size_t i = 0; i < classes; i += kFour) {
    if (HWY_UNLIKELY(i + kFour > classes || argmax - i < kFour)) {
      AddFourWithCare(x, i, classes, argmax, exp, &sum);
      continue;
    }
    Block e[4];
    const float* from = x + i;
    for (Block& terms : e) {
      for (V& part : terms.parts) {
        part = exp(hn::LoadU(d, from));
        from += kLanes;
      }
    }
    sum.AddFour(e);
  }
  return sum.Total();
}

inline FloatRowStats AnalyzeFloatRow(const float* x, size_t classes) {
  FloatRowStats stats = FindMaximum(x, classes);
  constexpr float kRange = 1024.0F;
  stats.in_range = stats.valid && std::abs(stats.max) <= kRange;
  if (!stats.in_range) return stats;
  const auto max = static_cast<double>(stats.max);
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kRound = 0x1.8p52;
  const double k = (max * kLog2E + kRound) - kRound;
  stats.max_exponent = static_cast<int32_t>(k);
  stats.max_mantissa = ExpMantissa(max, k);
  stats.tail = SumTail(x, classes, stats) / stats.max_mantissa;
  return stats;
}

inline void ScaleExponentials(const float* x, size_t classes, const FloatRowStats& stats,
                              float factor, float* out) {
  const D d;
  const ScaledExp exp(stats.max, stats.max_exponent);
  const V scale = hn::Set(d, factor);
  const V zero = hn::Zero(d);
  size_t i = 0;
  for (; i + kBlock <= classes; i += kBlock) {
    for (size_t p = 0; p < kParts; ++p) {
      const V e = exp(hn::LoadU(d, x + i + p * kLanes));
      // Adding +0 turns a -0 of a negative factor into +0.
      hn::StoreU(hn::Add(hn::Mul(e, scale), zero), d, out + i + p * kLanes);
    }
  }
  if (i == classes) return;
  Block block = LoadPartial(x + i, classes - i);
  for (V& part : block.parts) part = hn::Add(hn::Mul(exp(part), scale), zero);
  StorePartial(block, classes - i, out + i);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_FLOAT_ROW_INL_H_
