#include "proto/codec/problem_codec.h"

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "core/problem/outputs.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/criterion_codec.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {
namespace {

absl::Status Missing(absl::string_view field, absl::string_view what) {
  return InvalidField(field, "FIELD_MISSING", "expected ", what);
}

/// Where the data of a weight may be.
enum class WeightPlace : uint8_t { kHere, kHereOrInStream };

absl::Status ParseWeight(const v1::Tensor& wire, WeightPlace place, Problem* problem,
                         std::vector<std::byte>* storage) {
  const std::string field = problem->criterion.PathOf("weight");
  if (place == WeightPlace::kHereOrInStream && wire.data_case() == v1::Tensor::DATA_NOT_SET) {
    v1::TensorSpec spec;
    spec.set_dtype(wire.dtype());
    *spec.mutable_shape() = wire.shape();
    auto parsed = ParseSpec(spec, field);
    if (!parsed.ok()) return parsed.status();
    problem->weight = {*std::move(parsed), {}};
    problem->weight_follows = true;
    return absl::OkStatus();
  }
  auto weight = ParseTensor(wire, field, storage);
  if (!weight.ok()) return weight.status();
  problem->weight = *std::move(weight);
  return absl::OkStatus();
}

/// `weight_storage` holds the weight's bytes if it comes as typed values.
absl::Status ParseCriterionAndWeight(const v1::Criterion& wire, WeightPlace place, Problem* problem,
                                     std::vector<std::byte>* weight_storage) {
  LOSSD_RETURN_IF_ERROR(ParseCriterion(wire, &problem->criterion));
  const v1::Tensor* const weight = FindWeight(wire);
  if (weight == nullptr) return absl::OkStatus();
  return ParseWeight(*weight, place, problem, weight_storage);
}

Outputs ParseOutputs(const v1::Outputs& wire) {
  Outputs outputs;
  if (wire.has_loss()) outputs.loss = wire.loss();
  outputs.grad_input = wire.grad_input();
  outputs.grad_target = wire.grad_target();
  outputs.grad_weight = wire.grad_weight();
  outputs.log_sum_exp = wire.log_sum_exp();
  outputs.top_k = wire.top_k();
  return outputs;
}

absl::StatusOr<std::shared_ptr<const Plan>> PlanOf(const v1::EvaluateStreamHeader& header,
                                                   const PlanLimits& limits) {
  if (!header.has_criterion()) return Missing("criterion", "a loss and its options");
  if (!header.has_input()) return Missing("input", "the type and shape of the logits");
  if (!header.has_target()) return Missing("target", "the type and shape of the target");
  Problem problem;
  problem.outputs = ParseOutputs(header.outputs());
  auto input = ParseSpec(header.input(), "input");
  if (!input.ok()) return input.status();
  problem.input = *std::move(input);
  auto target = ParseSpec(header.target(), "target");
  if (!target.ok()) return target.status();
  problem.target = *std::move(target);
  if (header.has_grad_output()) {
    auto grad_output = ParseSpec(header.grad_output(), "grad_output");
    if (!grad_output.ok()) return grad_output.status();
    problem.grad_output = *std::move(grad_output);
  }
  std::vector<std::byte> weight_storage;
  LOSSD_RETURN_IF_ERROR(ParseCriterionAndWeight(header.criterion(), WeightPlace::kHereOrInStream,
                                                &problem, &weight_storage));
  return Plan::Create(problem, limits);
}

}  // namespace

absl::StatusOr<ParsedRequest> ParseRequest(const v1::EvaluateRequest& request,
                                           const PlanLimits& limits) {
  if (!request.has_criterion()) return Missing("criterion", "a loss and its options");
  if (!request.has_input()) return Missing("input", "the logits");
  if (!request.has_target()) return Missing("target", "class indices or probabilities");
  ParsedRequest parsed;
  parsed.typed = HasTypedValues(request.input());
  Problem problem;
  problem.outputs = ParseOutputs(request.outputs());
  auto input = ParseTensor(request.input(), "input", &parsed.input_storage);
  if (!input.ok()) return input.status();
  auto target = ParseTensor(request.target(), "target", &parsed.target_storage);
  if (!target.ok()) return target.status();
  problem.input = std::move(input->spec);
  problem.target = std::move(target->spec);
  parsed.operands = {input->bytes, target->bytes, {}};
  if (request.has_grad_output()) {
    auto grad = ParseTensor(request.grad_output(), "grad_output", &parsed.grad_output_storage);
    if (!grad.ok()) return grad.status();
    problem.grad_output = std::move(grad->spec);
    parsed.operands.grad_output = grad->bytes;
  }
  std::vector<std::byte> weight_storage;
  LOSSD_RETURN_IF_ERROR(
      ParseCriterionAndWeight(request.criterion(), WeightPlace::kHere, &problem, &weight_storage));
  auto plan = Plan::Create(problem, limits);
  if (!plan.ok()) return plan.status();
  parsed.plan = *std::move(plan);
  return parsed;
}

absl::StatusOr<std::shared_ptr<const Plan>> ParseHeader(const v1::EvaluateStreamHeader& header,
                                                        const PlanLimits& limits) {
  auto plan = PlanOf(header, limits);
  if (!plan.ok()) return WithFieldPrefix(plan.status(), "header.");
  return plan;
}

void ToWire(const Outputs& outputs, v1::Outputs* wire) {
  wire->set_loss(outputs.loss);
  wire->set_grad_input(outputs.grad_input);
  wire->set_grad_target(outputs.grad_target);
  wire->set_grad_weight(outputs.grad_weight);
  wire->set_log_sum_exp(outputs.log_sum_exp);
  wire->set_top_k(outputs.top_k);
}

}  // namespace lossd
