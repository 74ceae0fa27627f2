// A project that evaluates in its own process. The code has a warning that would be an error if
// lossd's own compile options reached it.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "core/batch.h"

int main() {
  const std::vector<double> logits = {0, 0, std::log(3), 0};
  const std::vector<int64_t> labels = {0, 0};
  lossd::Problem problem;
  problem.input = {lossd::DType::kFloat64, {2, 2}};
  problem.target = {lossd::DType::kInt64, {2}};
  auto plan = lossd::Plan::Create(problem);
  if (!plan.ok()) return 1;
  double loss = 0;
  lossd::OutputBuffers outputs;
  outputs.loss = reinterpret_cast<std::byte*>(&loss);
  const auto summary = lossd::EvaluateBatch(
      *std::move(plan),
      {.input = {reinterpret_cast<const std::byte*>(logits.data()), sizeof(double) * 4},
       .target = {reinterpret_cast<const std::byte*>(labels.data()), sizeof(int64_t) * 2},
       .grad_output = {}},
      outputs, nullptr);
  if (!summary.ok()) return 1;
  const float narrow = loss;  // -Wconversion
  std::printf("loss %.7g\n", narrow);
  return std::abs(loss - (std::log(2) + std::log(4.0 / 3)) / 2) < 1e-15 ? 0 : 1;
}
