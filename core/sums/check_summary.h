// Summaries from outside, held against what every problem keeps to.
#ifndef LOSSD_CORE_SUMS_CHECK_SUMMARY_H_
#define LOSSD_CORE_SUMS_CHECK_SUMMARY_H_

#include "absl/status/status.h"
#include "core/sums/summary.h"

namespace lossd {

/// Whether a problem, or shards of one, can have given `summary`: its options are valid ones, no
/// more is counted than there are positions, and the normalizer is the one that its positions ask
/// for. INVALID_ARGUMENT with the field's path in v1.Summary: the reason that CheckCriterion gives,
/// CLASSES_EMPTY, or SUMMARY_INCONSISTENT.
absl::Status CheckSummary(const Summary& summary);

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_CHECK_SUMMARY_H_
