// Vector passes over one row of float32 logits: the interface, free of instruction sets.
//
// The arithmetic is fixed: sixteen virtual lanes whatever the machine has, one fused multiply-add
// for each that is written, a fixed tree, no library functions. So all instruction sets give the
// same bits.
#ifndef LOSSD_CORE_FLOAT_ROW_H_
#define LOSSD_CORE_FLOAT_ROW_H_

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace lossd {

/// What the passes find out about a row.
struct FloatRowStats {
  float max = 0;
  int64_t argmax = 0;  ///< Lowest index of the maximum.
  bool valid = false;  ///< No NaN and no +inf among the logits, and not all of them -inf.
  bool in_range =
      false;        ///< |max| is small enough for the passes below; else nothing below is set.
  double tail = 0;  ///< Sum of exp(x_c - max) over all classes but argmax, times 2^64.
  double max_mantissa = 1;   ///< exp(max) 2^-k, with the k that exponentials are kept relative to.
  int32_t max_exponent = 0;  ///< That k.
};

/// Positions that are evaluated at once where classes are few, one in each lane.
inline constexpr size_t kGroup = 16;
/// Up to so many classes rows are evaluated in groups; beyond, each by itself. What a row gives
/// must not depend on how it lies in memory, so the number of classes alone decides.
inline constexpr size_t kMaxGroupClasses = 64;

/// A group of up to sixteen positions.
struct FloatGroup {
  size_t classes = 0;
  bool gradient = false;                                ///< Whether the gradient is wanted.
  alignas(64) float logits[kMaxGroupClasses * kGroup];  ///< [classes, 16]; unused lanes are finite.
  alignas(64) int32_t labels[kGroup];                   ///< -1 where there is none.
  alignas(64) double own[kGroup];  ///< What a gradient p_c is multiplied by; 0 without a label.
  // Results.
  alignas(64) float gradients[kMaxGroupClasses * kGroup];  ///< [classes, 16]
  alignas(64) double negative_logs[kGroup];                ///< -l_y
  alignas(64) double log_sum_exps[kGroup];
  alignas(64) int32_t argmax[kGroup];  ///< Lowest index of the maximum.
  bool good[kGroup];  ///< False: the position needs the passes in double, and its results are void.
};

/// Passes for the instruction set of this machine.
struct FloatRowKernels {
  /// `x` needs no alignment.
  FloatRowStats (*analyze)(const float* x, size_t classes);
  /// out[c] = RN(factor exp(x_c) 2^(64 - max_exponent)); `out` may be `x`. Needs stats in range.
  void (*scale_exponentials)(const float* x, size_t classes, const FloatRowStats& stats,
                             float factor, float* out);
  /// Fills the results of a group.
  void (*evaluate_group)(FloatGroup* group);
};

/// Whether a gradient's factor is exact to an ulp in float32 and keeps products in range.
inline bool FactorFits(double factor) {
  return factor == 0.0 || (std::abs(factor) > 0x1p-120 && std::abs(factor) < 0x1p60);
}

/// To be fetched once for a range of rows, not for each.
FloatRowKernels GetFloatRowKernels();

/// Name of the instruction set in use, such as "AVX2".
const char* FloatRowTarget();

}  // namespace lossd

#endif  // LOSSD_CORE_FLOAT_ROW_H_
