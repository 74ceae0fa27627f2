// What requests hold in memory beside their messages: reserved before any of it is taken.
#ifndef LOSSD_SERVER_ENGINE_FOOTPRINT_H_
#define LOSSD_SERVER_ENGINE_FOOTPRINT_H_

#include <cstdint>

#include "core/problem/plan.h"

namespace lossd {

/// Bytes of what is kept by class and by label: the plan's weights, labels, their counts by class,
/// and the exact sums of a weight gradient.
uint64_t KeptBytes(const Plan& plan);

/// Bytes of the scratch that the tasks of `positions` positions take on `threads` workers at once.
/// Scratch that a worker keeps from one task to the next, kKeptScratchBytes at most, is not the
/// request's.
uint64_t TaskScratchBytes(const Plan& plan, int64_t positions, int threads);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_FOOTPRINT_H_
