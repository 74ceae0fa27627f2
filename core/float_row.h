// Vector passes over one row of float32 logits: the interface, free of instruction sets.
//
// The arithmetic is fixed: sixteen virtual lanes whatever the machine has, one fused multiply-add
// for each that is written, a fixed tree, no library functions. So all instruction sets give the
// same bits.
#ifndef LOSSD_CORE_FLOAT_ROW_H_
#define LOSSD_CORE_FLOAT_ROW_H_

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

/// Passes for the instruction set of this machine.
struct FloatRowKernels {
  /// `x` needs no alignment.
  FloatRowStats (*analyze)(const float* x, size_t classes);
  /// out[c] = RN(factor exp(x_c) 2^(64 - max_exponent)); `out` may be `x`. Needs stats in range.
  void (*scale_exponentials)(const float* x, size_t classes, const FloatRowStats& stats,
                             float factor, float* out);
};

/// To be fetched once for a range of rows, not for each.
FloatRowKernels GetFloatRowKernels();

/// Name of the instruction set in use, such as "AVX2".
const char* FloatRowTarget();

}  // namespace lossd

#endif  // LOSSD_CORE_FLOAT_ROW_H_
