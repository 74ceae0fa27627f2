// The instruction sets that the passes are compiled for. Include it before Highway's headers.
#ifndef LOSSD_CORE_SIMD_ROW_TARGETS_H_
#define LOSSD_CORE_SIMD_ROW_TARGETS_H_

// Scalable vectors have no fixed number of lanes that divides sixteen. SSSE3 alone would serve
// processors from before 2008, and the passes use nothing that AVX3_DL and later sets add to AVX3:
// each set took a compiler minutes. Machines of both kinds run the next lower set. HWY_AVX3 - 1
// covers all sets better than AVX3, in which releases of Highway differ: a better set of a
// processor has a lower bit.
#define HWY_DISABLED_TARGETS \
  (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_SSSE3 | (HWY_AVX3 - 1))

#endif  // LOSSD_CORE_SIMD_ROW_TARGETS_H_
