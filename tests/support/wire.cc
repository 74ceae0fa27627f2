#include "tests/support/wire.h"

#include "proto/codec/criterion_codec.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/tensor_codec.h"

namespace lossd::testing {
namespace {

void SetWeight(const OwnedProblem& problem, v1::Criterion* criterion) {
  if (!problem.weight) return;
  FillTensor(problem.weight->spec, problem.weight->bytes, false, MutableWeight(criterion));
}

}  // namespace

v1::EvaluateRequest MakeRequest(const OwnedProblem& problem) {
  v1::EvaluateRequest request;
  ToWire(problem.criterion, request.mutable_criterion());
  SetWeight(problem, request.mutable_criterion());
  ToWire(problem.outputs, request.mutable_outputs());
  FillTensor(problem.input.spec, problem.input.bytes, false, request.mutable_input());
  FillTensor(problem.target.spec, problem.target.bytes, false, request.mutable_target());
  if (problem.grad_output) {
    FillTensor(problem.grad_output->spec, problem.grad_output->bytes, false,
               request.mutable_grad_output());
  }
  return request;
}

v1::EvaluateStreamHeader MakeHeader(const OwnedProblem& problem) {
  v1::EvaluateStreamHeader header;
  ToWire(problem.criterion, header.mutable_criterion());
  SetWeight(problem, header.mutable_criterion());
  ToWire(problem.outputs, header.mutable_outputs());
  ToWire(problem.input.spec, header.mutable_input());
  ToWire(problem.target.spec, header.mutable_target());
  if (problem.grad_output) ToWire(problem.grad_output->spec, header.mutable_grad_output());
  return header;
}

v1::EvaluateResponse MakeResponse(const OwnedProblem& problem, const Results& results) {
  const auto plan = problem.plan();
  const Outputs& wanted = plan->outputs();
  v1::EvaluateResponse response;
  const auto fill = [](bool want, const TensorSpec& spec, const Bytes& bytes, auto tensor) {
    if (want) FillTensor(spec, bytes, /*typed=*/false, tensor());
  };
  fill(wanted.loss, {plan->loss_dtype(), plan->LossShape()}, results.loss,
       [&] { return response.mutable_loss(); });
  fill(wanted.log_sum_exp, {plan->loss_dtype(), plan->PositionShape()}, results.log_sum_exp,
       [&] { return response.mutable_log_sum_exp(); });
  fill(wanted.grad_weight, {plan->WeightDType(), {plan->classes()}}, results.grad_weight,
       [&] { return response.mutable_grad_weight(); });
  fill(wanted.grad_target, plan->target(), results.grad_target,
       [&] { return response.mutable_grad_target(); });
  fill(wanted.grad_input, plan->input(), results.grad_input,
       [&] { return response.mutable_grad_input(); });
  ToWire(results.summary, response.mutable_summary());
  return response;
}

}  // namespace lossd::testing
