#include "tests/support/wire.h"

#include "proto/codec/problem_codec.h"
#include "proto/codec/tensor_codec.h"

namespace lossd::testing {
namespace {

void SetWeight(const OwnedProblem& problem, v1::Criterion* criterion) {
  if (!problem.weight) return;
  FillTensor(problem.weight->spec, problem.weight->bytes, false,
             criterion->mutable_cross_entropy()->mutable_weight());
}

}  // namespace

v1::EvaluateRequest MakeRequest(const OwnedProblem& problem) {
  v1::EvaluateRequest request;
  ToWire(problem.options, request.mutable_criterion());
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
  ToWire(problem.options, header.mutable_criterion());
  SetWeight(problem, header.mutable_criterion());
  ToWire(problem.outputs, header.mutable_outputs());
  ToWire(problem.input.spec, header.mutable_input());
  ToWire(problem.target.spec, header.mutable_target());
  if (problem.grad_output) ToWire(problem.grad_output->spec, header.mutable_grad_output());
  return header;
}

}  // namespace lossd::testing
