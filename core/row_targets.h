// Which instruction sets the passes are compiled for. Comes before Highway's headers.
#ifndef LOSSD_CORE_ROW_TARGETS_H_
#define LOSSD_CORE_ROW_TARGETS_H_

// Scalable vectors have no fixed number of lanes to divide sixteen by.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

#endif  // LOSSD_CORE_ROW_TARGETS_H_
