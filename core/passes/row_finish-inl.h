// Turns the float32 sums of rows into stats; compiled once for each instruction set.

#if defined(LOSSD_CORE_PASSES_ROW_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_ROW_FINISH_INL_H_
#undef LOSSD_CORE_PASSES_ROW_FINISH_INL_H_
#else
#define LOSSD_CORE_PASSES_ROW_FINISH_INL_H_
#endif

#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/passes/row_kernels.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/math.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// 2^n; 0 below the normal range. REQUIRES: n <= 1023.
inline double PowerOfTwo(int32_t n) {
  if (n < -1022) return 0.0;
  return std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52U);
}

inline int32_t ExponentOf(float x) {
  constexpr double kRound = 0x1.8p52;
  return static_cast<int32_t>((static_cast<double>(x) * 0x1.71547652b82fep+0 + kRound) - kRound);
}

/// The sums of a row.
struct RowSum {
  bool in_range = false;
  float max = 0;
  double rest = 1;       ///< Sum of the exponentials of all classes but one of the maximum.
  int32_t exponent = 0;  ///< The k_ref of the exponentials (see ScaledExp).
};

/// Turns sums into stats, for kCount rows side by side.
template <size_t kCount>
HWY_INLINE void FinishRows(const RowSum (&sums)[kCount], FloatRowStats (&stats)[kCount]) {
  double max[kCount];
  double exponent[kCount];
  double unit[kCount];
  for (size_t i = 0; i < kCount; ++i) {
    const int32_t k = ExponentOf(sums[i].max);
    stats[i].in_range = sums[i].in_range;
    stats[i].max = sums[i].max;
    stats[i].max_exponent = k;
    max[i] = static_cast<double>(sums[i].max);
    exponent[i] = static_cast<double>(k);
    unit[i] = PowerOfTwo(k - sums[i].exponent + kScaleExponent);
    stats[i].kept_scale = PowerOfTwo(sums[i].exponent - k);
  }
  double mantissa[kCount];
  double tail[kCount];
  double log_norm[kCount];
  for (size_t i = 0; i < kCount; ++i) {
    mantissa[i] = kExpFactor * ExpMantissa(max[i], exponent[i]);
  }
  for (size_t i = 0; i < kCount; ++i) tail[i] = sums[i].rest / (mantissa[i] * unit[i]);
  for (size_t i = 0; i < kCount; ++i) log_norm[i] = Log1pNonNegative(tail[i]);
  for (size_t i = 0; i < kCount; ++i) {
    stats[i].max_mantissa = mantissa[i];
    stats[i].tail = tail[i];
    stats[i].log_norm = log_norm[i];
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_ROW_FINISH_INL_H_
