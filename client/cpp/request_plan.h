// What both kinds of call do first.
#ifndef LOSSD_CLIENT_CPP_REQUEST_PLAN_H_
#define LOSSD_CLIENT_CPP_REQUEST_PLAN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/plan.h"

namespace lossd {

/// Checks the request as the server will, so that a mistake costs no transfer and results can be
/// allocated before they come.
/// The weight of one that `weight_follows` stays where it is.
absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const LossRequest& request,
                                                     bool weight_follows);

/// Gives every output that is asked for its tensor, the others none.
void PrepareResult(const LossRequest& request, const Plan& plan, LossResult* result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_REQUEST_PLAN_H_
