// Which instruction sets the passes are compiled for. Comes before Highway's headers.
#ifndef LOSSD_CORE_ROW_TARGETS_H_
#define LOSSD_CORE_ROW_TARGETS_H_

// Scalable vectors have no fixed number of lanes to divide sixteen by.
#define LOSSD_SCALABLE_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
// Under a sanitizer compilers need minutes for each: without those that differ little from another.
#if defined(LOSSD_FEW_TARGETS)
#define HWY_DISABLED_TARGETS (LOSSD_SCALABLE_TARGETS | HWY_SSE4 | HWY_AVX3_DL)
#else
#define HWY_DISABLED_TARGETS LOSSD_SCALABLE_TARGETS
#endif

#endif  // LOSSD_CORE_ROW_TARGETS_H_
