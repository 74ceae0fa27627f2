// Which instruction sets the passes are compiled for. Comes before Highway's headers.
#ifndef LOSSD_CORE_SIMD_ROW_TARGETS_H_
#define LOSSD_CORE_SIMD_ROW_TARGETS_H_

// Scalable vectors have no fixed number of lanes to divide sixteen by. SSSE3 alone would serve
// processors of before 2008, and what AVX3_DL and later sets add to AVX3 the passes do not use:
// each took a compiler minutes. Machines of both kinds run the next lower set. A better set of a
// processor has a lower bit, and releases of Highway differ in the sets better than AVX3.
#define HWY_DISABLED_TARGETS \
  (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SSSE3 | (HWY_AVX3 - 1))

#endif  // LOSSD_CORE_SIMD_ROW_TARGETS_H_
