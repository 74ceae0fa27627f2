#include "client/cpp/request_plan.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/error.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"

namespace lossd {

absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const LossRequest& request,
                                                     bool weight_follows) {
  Problem problem{request.criterion, request.outputs, request.input.spec, request.target.spec,
                  std::nullopt,      request.weight,  weight_follows};
  if (request.grad_output) problem.grad_output = request.grad_output->spec;
  auto plan = Plan::Create(problem);
  if (!plan.ok()) return plan.status();
  if (weight_follows) {
    LOSSD_RETURN_IF_ERROR(CheckBytes(*request.weight, request.criterion.PathOf("weight")));
  }
  if (!request.read_input) LOSSD_RETURN_IF_ERROR(CheckBytes(request.input, "input"));
  LOSSD_RETURN_IF_ERROR(CheckBytes(request.target, "target"));
  if (request.grad_output) LOSSD_RETURN_IF_ERROR(CheckBytes(*request.grad_output, "grad_output"));
  return plan;
}

void PrepareResult(const LossRequest& request, const Plan& plan, LossResult* result) {
  const Outputs& wanted = plan.outputs();
  const auto prepare = [](bool want, TensorSpec spec, Tensor* tensor) {
    if (want) return tensor->Reset(std::move(spec));
    tensor->Clear();
  };
  prepare(wanted.loss, {plan.loss_dtype(), plan.LossShape()}, &result->loss);
  prepare(wanted.log_sum_exp, {plan.loss_dtype(), plan.PositionShape()}, &result->log_sum_exp);
  prepare(wanted.grad_input && !request.take_grad_input, plan.input(), &result->grad_input);
  prepare(wanted.grad_target, plan.target(), &result->grad_target);
  prepare(wanted.grad_weight, {plan.WeightDType(), {plan.classes()}}, &result->grad_weight);
}

}  // namespace lossd
