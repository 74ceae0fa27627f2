#include "tests/support/problem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/fork_join_pool.h"
#include "core/problem/error.h"
#include "core/problem/load.h"

namespace lossd::testing {
namespace {

void StoreInteger(DType dtype, double value, std::byte* to) {
  // Little-endian two's complement, truncated to the type's width.
  if (dtype == DType::kUInt64 && value >= 0x1p63) {
    StoreRaw(to, static_cast<uint64_t>(value));
    return;
  }
  const auto wide = static_cast<int64_t>(value);
  std::memcpy(to, &wide, SizeOf(dtype));
}

}  // namespace

OwnedTensor MakeTensor(DType dtype, Shape shape, const std::vector<double>& values) {
  OwnedTensor tensor{{dtype, std::move(shape)}, Bytes(values.size() * SizeOf(dtype))};
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* to = tensor.bytes.data() + i * SizeOf(dtype);
    if (IsFloating(dtype)) {
      StoreFromDouble(dtype, values[i], to);
    } else {
      StoreInteger(dtype, values[i], to);
    }
  }
  return tensor;
}

std::vector<double> Values(DType dtype, const Bytes& bytes) {
  std::vector<double> values(bytes.size() / SizeOf(dtype));
  LoadAsDouble(dtype, bytes.data(), values.size(), values.data());
  return values;
}

Problem OwnedProblem::problem() const {
  Problem problem{criterion, outputs, input.spec, target.spec, std::nullopt, std::nullopt};
  if (grad_output) problem.grad_output = grad_output->spec;
  if (weight) problem.weight = weight->view();
  return problem;
}

Operands OwnedProblem::operands() const {
  Operands operands{input.bytes, target.bytes, {}};
  if (grad_output) operands.grad_output = grad_output->bytes;
  return operands;
}

std::shared_ptr<const Plan> OwnedProblem::plan() const { return Plan::Create(problem()).value(); }

absl::StatusOr<Results> RunBatch(const OwnedProblem& problem, int threads) {
  auto plan = Plan::Create(problem.problem());
  if (!plan.ok()) return plan.status();
  const OutputSizes sizes = SizesOf(**plan);
  constexpr std::byte kPoison{0xCD};
  Results results{Bytes(sizes.loss, kPoison),        Bytes(sizes.log_sum_exp, kPoison),
                  Bytes(sizes.grad_input, kPoison),  Bytes(sizes.grad_target, kPoison),
                  Bytes(sizes.grad_weight, kPoison), {}};
  const auto data = [](Bytes& bytes) { return bytes.empty() ? nullptr : bytes.data(); };
  ForkJoinPool pool(threads);
  auto summary =
      EvaluateBatch(*plan, problem.operands(),
                    {data(results.loss), data(results.log_sum_exp), data(results.grad_input),
                     data(results.grad_target), data(results.grad_weight)},
                    &pool);
  if (!summary.ok()) return summary.status();
  results.summary = *std::move(summary);
  return results;
}

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& field,
                 const std::string& reason) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(GetErrorDetail(status).field, field) << status;
  EXPECT_EQ(GetErrorDetail(status).reason, reason) << status;
}

std::string Difference(const Results& a, const Results& b) {
  if (a.loss != b.loss) return "loss";
  if (a.log_sum_exp != b.log_sum_exp) return "log_sum_exp";
  if (a.grad_input != b.grad_input) return "grad_input";
  if (a.grad_target != b.grad_target) return "grad_target";
  if (a.grad_weight != b.grad_weight) return "grad_weight";
  if (!(ToValue(a.summary.loss_sum) == ToValue(b.summary.loss_sum))) return "loss_sum";
  if (!(ToValue(a.summary.normalizer) == ToValue(b.summary.normalizer))) return "normalizer";
  if (a.summary.positions != b.summary.positions) return "positions";
  if (a.summary.ignored != b.summary.ignored) return "ignored";
  if (a.summary.correct != b.summary.correct) return "correct";
  if (a.summary.correct_top_k != b.summary.correct_top_k) return "correct_top_k";
  if (!(a.summary.criterion == b.summary.criterion)) return "criterion";
  if (a.summary.weight_digest != b.summary.weight_digest) return "weight_digest";
  return "";
}

OwnedProblem MakeIndex(DType dtype, Shape shape, const std::vector<double>& x,
                       const std::vector<double>& labels) {
  OwnedProblem problem;
  Shape positions = shape;
  positions.erase(positions.begin() + (shape.size() > 1 ? 1 : 0));
  problem.input = MakeTensor(dtype, std::move(shape), x);
  problem.target = MakeTensor(DType::kInt64, std::move(positions), labels);
  problem.outputs.grad_input = true;
  return problem;
}

OwnedProblem RandomProblem(std::mt19937_64* random) {
  const auto pick = [random](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(*random);
  };
  const auto reals = [random](int64_t count, double scale) {
    std::normal_distribution<double> normal(0, scale);
    std::vector<double> values(static_cast<size_t>(count));
    for (double& value : values) value = normal(*random);
    return values;
  };
  OwnedProblem problem;
  const auto dtype = static_cast<DType>(pick(0, 3));
  const DType companion = IsHalf(dtype) && pick(0, 1) != 0 ? DType::kFloat32 : dtype;
  const int64_t rank = pick(1, 4);
  Shape shape;
  for (int64_t d = 0; d < rank; ++d) shape.push_back(pick(1, d == 1 ? 40 : 9));
  const int64_t axis = pick(0, rank - 1);
  if (axis != std::min<int64_t>(1, rank - 1) || pick(0, 1) != 0) {
    problem.criterion.cross_entropy().class_axis =
        static_cast<int32_t>(axis - (pick(0, 1) != 0 ? rank : 0));
  }
  const int64_t classes = shape[static_cast<size_t>(axis)];
  Shape positions = shape;
  positions.erase(positions.begin() + axis);
  int64_t count = 1;
  for (const int64_t size : positions) count *= size;
  problem.input = MakeTensor(dtype, shape, reals(count * classes, 4.0));
  problem.criterion.reduction = static_cast<Reduction>(pick(0, 2));
  if (pick(0, 2) == 0) problem.criterion.cross_entropy().label_smoothing = 0.1;
  const bool none = problem.criterion.reduction == Reduction::kNone;
  problem.outputs = {true, true, false, false, true, static_cast<uint32_t>(pick(0, 3))};
  if (pick(0, 1) != 0) {
    if (pick(0, 1) != 0) problem.criterion.cross_entropy().ignore_index = pick(-1, classes - 1);
    const int64_t ignore =
        problem.criterion.cross_entropy().ignore_index.value_or(kDefaultIgnoreIndex);
    std::vector<double> labels(static_cast<size_t>(count));
    for (double& label : labels) {
      label = static_cast<double>(pick(0, 5) == 0 ? ignore : pick(0, classes - 1));
    }
    problem.target = MakeTensor(pick(0, 1) != 0 ? DType::kInt64 : DType::kInt16, positions, labels);
  } else {
    problem.target = MakeTensor(companion, shape, reals(count * classes, 1.0));
    problem.outputs.grad_target = true;
  }
  if (pick(0, 1) != 0) {
    problem.weight = MakeTensor(companion, {classes}, reals(classes, 1.0));
    problem.outputs.grad_weight = true;
  }
  if (pick(0, 1) != 0) {
    problem.grad_output =
        MakeTensor(companion, none ? positions : Shape(), reals(none ? count : 1, 1.0));
  }
  if (problem.criterion.reduction == Reduction::kMean && pick(0, 3) == 0) {
    problem.criterion.normalizer = 12.5;
  }
  return problem;
}

}  // namespace lossd::testing
