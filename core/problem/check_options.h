// Options checked without a tensor: those of problems and those that summaries carry.
#ifndef LOSSD_CORE_PROBLEM_CHECK_OPTIONS_H_
#define LOSSD_CORE_PROBLEM_CHECK_OPTIONS_H_

#include "absl/status/status.h"
#include "core/problem/options.h"
#include "core/problem/plan.h"

namespace lossd {

/// Ranges, and options that exclude each other; class_axis apart, which only an input can bound.
/// INVALID_ARGUMENT with the field's path in the protocol's names, "criterion. ...".
absl::Status CheckOptions(const Options& options, TargetKind target);

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_CHECK_OPTIONS_H_
