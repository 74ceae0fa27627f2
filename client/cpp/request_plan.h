// The first steps of unary and stream calls: checking the request, allocating the result.
#ifndef LOSSD_CLIENT_CPP_REQUEST_PLAN_H_
#define LOSSD_CLIENT_CPP_REQUEST_PLAN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/plan.h"

namespace lossd {

/// Checks the request as the server will, so that a mistake costs no transfer and the result can be
/// allocated before the reply comes. If `weight_follows`, the values of the weight are not read.
absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const LossRequest& request,
                                                     bool weight_follows);

/// Allocates the tensors of the requested outputs and clears the others.
void PrepareResult(const LossRequest& request, const Plan& plan, LossResult* result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_REQUEST_PLAN_H_
