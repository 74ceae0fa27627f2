// Checks summaries from outside against the invariants of every problem.
#ifndef LOSSD_CORE_SUMS_CHECK_SUMMARY_H_
#define LOSSD_CORE_SUMS_CHECK_SUMMARY_H_

#include "absl/status/status.h"
#include "core/sums/summary.h"

namespace lossd {

/// Checks that a problem, or shards of one, can have given `summary`: its options are valid, it
/// counts no more than its positions, and its normalizer is the one that its positions ask for.
/// INVALID_ARGUMENT with the field's path in v1.Summary. The reason is that of CheckCriterion,
/// CLASSES_EMPTY, or SUMMARY_INCONSISTENT.
absl::Status CheckSummary(const Summary& summary);

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_CHECK_SUMMARY_H_
