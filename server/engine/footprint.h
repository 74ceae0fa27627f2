// The memory that requests hold beside their messages; it is reserved before it is allocated.
#ifndef LOSSD_SERVER_ENGINE_FOOTPRINT_H_
#define LOSSD_SERVER_ENGINE_FOOTPRINT_H_

#include <cstdint>

#include "core/problem/plan.h"

namespace lossd {

/// Bytes of the data kept by class and by label: the plan's weights, the labels, their counts by
/// class, and the exact sums of a weight gradient.
uint64_t KeptBytes(const Plan& plan);

/// Scratch bytes that the tasks of `positions` positions use on `threads` workers at once. Scratch
/// that a worker keeps from one task to the next, at most kKeptScratchBytes, is not counted.
uint64_t TaskScratchBytes(const Plan& plan, int64_t positions, int threads);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_FOOTPRINT_H_
