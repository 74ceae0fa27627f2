// The edges where the service is deliberately better than PyTorch, byte counts that lie, and
// buffers at odd addresses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/summary.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

constexpr double kInf = HUGE_VAL;

TEST(Edges, IgnoredPositionsAreZeroWhateverTheirLogits) {
  for (const Reduction reduction : {Reduction::kNone, Reduction::kSum, Reduction::kMean}) {
    OwnedProblem problem =
        MakeIndex(DType::kFloat32, {3, 2}, {NAN, kInf, -kInf, -kInf, 1, 0}, {-100, -100, 0});
    problem.options.reduction = reduction;
    const auto results = RunBatch(problem);
    const auto gradient = Values(DType::kFloat32, results->grad_input);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(gradient[i], 0) << i;
      EXPECT_FALSE(std::signbit(gradient[i])) << i;
    }
    const auto loss = Values(DType::kFloat32, results->loss);
    EXPECT_TRUE(std::isfinite(loss.back()));
    EXPECT_GT(loss.back(), 0);
  }
}

TEST(Edges, ZeroMassAtMinusInfinityCountsNothing) {
  OwnedProblem problem;
  problem.options.reduction = Reduction::kNone;
  problem.outputs.grad_input = problem.outputs.grad_target = true;
  problem.input = MakeTensor(DType::kFloat64, {1, 3}, {1, -kInf, 0});
  problem.target = MakeTensor(DType::kFloat64, {1, 3}, {0.5, 0, 0.5});
  const auto results = RunBatch(problem);
  EXPECT_NEAR(Values(DType::kFloat64, results->loss)[0], std::log1p(std::exp(-1.0)) + 0.5, 1e-15);
  EXPECT_EQ(Values(DType::kFloat64, results->grad_input)[1], 0.0);
  // A zero class weight silences its class as well.
  OwnedProblem weighted = MakeIndex(DType::kFloat32, {1, 2}, {-kInf, 0}, {0});
  weighted.options.reduction = Reduction::kNone;
  weighted.weight = MakeTensor(DType::kFloat32, {2}, {0, 1});
  EXPECT_EQ(Values(DType::kFloat32, RunBatch(weighted)->loss)[0], 0.0);
}

TEST(Edges, MinusInfinityWithMass) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {-kInf, 0}, {0});
  problem.options.label_smoothing = 0.1;
  const auto results = RunBatch(problem);
  EXPECT_EQ(Values(DType::kFloat32, results->loss)[0], kInf);
  for (const double g : Values(DType::kFloat32, results->grad_input)) EXPECT_TRUE(std::isfinite(g));
}

TEST(Edges, NotANumberIsCanonical) {
  for (const std::vector<double>& x :
       {std::vector<double>{kInf, 0}, std::vector<double>{-kInf, -kInf},
        std::vector<double>{-NAN, 0}}) {
    OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, x, {0});
    problem.outputs.log_sum_exp = true;
    const auto results = RunBatch(problem);
    const Bytes canonical = {std::byte{0}, std::byte{0}, std::byte{0xC0}, std::byte{0x7F}};
    EXPECT_EQ(results->loss, canonical);
    EXPECT_EQ(results->log_sum_exp, canonical);
    EXPECT_EQ(Bytes(results->grad_input.begin(), results->grad_input.begin() + 4), canonical);
  }
}

TEST(Edges, EmptyMean) {
  OwnedProblem ignored = MakeIndex(DType::kFloat32, {2, 2}, {1, 2, 3, 4}, {-100, -100});
  EXPECT_TRUE(std::isnan(Values(DType::kFloat32, RunBatch(ignored)->loss)[0]));
  ignored.options.empty_mean = EmptyMean::kZero;
  EXPECT_EQ(Values(DType::kFloat32, RunBatch(ignored)->loss)[0], 0.0);
  for (const double g : Values(DType::kFloat32, RunBatch(ignored)->grad_input)) EXPECT_EQ(g, 0.0);
  // Never for positions that count with zero weights.
  OwnedProblem weightless = MakeIndex(DType::kFloat32, {1, 2}, {1, 2}, {0});
  weightless.options.empty_mean = EmptyMean::kZero;
  weightless.weight = MakeTensor(DType::kFloat32, {2}, {0, 1});
  EXPECT_TRUE(std::isnan(Values(DType::kFloat32, RunBatch(weightless)->loss)[0]));
}

TEST(Edges, TopKTiesGoToTheLowerIndex) {
  OwnedProblem problem =
      MakeIndex(DType::kFloat32, {3, 4}, {5, 5, 1, 0, 5, 5, 1, 0, 5, 5, 5, 0}, {0, 1, 2});
  problem.outputs.top_k = 2;
  const Summary summary = RunBatch(problem)->summary;
  EXPECT_EQ(summary.correct, 1U);
  EXPECT_EQ(summary.correct_top_k, 2U);
}

TEST(Edges, LogSumExpOfIgnoredPositions) {
  OwnedProblem problem = MakeIndex(DType::kFloat64, {2, 2}, {0, 0, 1, 1}, {-100, 0});
  problem.outputs.log_sum_exp = true;
  const auto values = Values(DType::kFloat64, RunBatch(problem)->log_sum_exp);
  EXPECT_DOUBLE_EQ(values[0], std::log(2.0));
  EXPECT_DOUBLE_EQ(values[1], 1 + std::log(2.0));
}

// A factor that float32 flushes to 0 is no zero weight.
TEST(Range, TinyWeightsAndScalesKeepTheirGradients) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const double tiny : {0x1p-70, 0x1p-90, 0x1p-110}) {
      for (const bool weighted : {false, true}) {
        OwnedProblem problem = MakeIndex(dtype, {2, 3}, {0, 0, -1000, 0, 0, 0}, {0, -100});
        problem.options.reduction = Reduction::kSum;
        problem.weight = MakeTensor(dtype, {3}, std::vector<double>(3, weighted ? tiny : 1));
        problem.grad_output = MakeTensor(dtype, {}, {weighted ? 1 : tiny});
        const auto gradient = Values(dtype, RunBatch(problem)->grad_input);
        EXPECT_EQ(gradient, (std::vector<double>{-tiny / 2, tiny / 2, 0, 0, 0, 0}));
      }
    }
  }
}

TEST(Batch, ByteCountsThatLie) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {1, 2}, {0});
  problem.input.bytes.pop_back();
  auto status = RunBatch(problem).status();
  EXPECT_EQ(GetErrorDetail(status).field, "input");
  EXPECT_EQ(GetErrorDetail(status).reason, "LENGTH_MISMATCH");
  problem = MakeIndex(DType::kFloat32, {1, 2}, {1, 2}, {0});
  problem.target.bytes.resize(9);
  status = RunBatch(problem).status();
  EXPECT_EQ(GetErrorDetail(status).field, "target");
}

// A buffer whose last element ends where readable memory does: the address sanitizer sees any read
// beyond it; an odd start checks that nothing relies on alignment.
TEST(Batch, UnalignedInputGivesTheSameBits) {
  std::mt19937_64 random(21);
  for (int round = 0; round < 50; ++round) {
    const OwnedProblem problem = RandomProblem(&random);
    const auto aligned = RunBatch(problem);
    const auto shifted = [](const Bytes& bytes) {
      Bytes copy(bytes.size() + 1);
      std::copy(bytes.begin(), bytes.end(), copy.begin() + 1);
      return copy;
    };
    const Bytes input = shifted(problem.input.bytes);
    const Bytes target = shifted(problem.target.bytes);
    const Bytes grad = problem.grad_output ? shifted(problem.grad_output->bytes) : Bytes(1);
    const auto plan = problem.plan();
    const OutputSizes sizes = SizesOf(*plan);
    Bytes grad_input(sizes.grad_input + 1);
    auto batch = BatchEvaluation::Create(plan,
                                         {{input.data() + 1, input.size() - 1},
                                          {target.data() + 1, target.size() - 1},
                                          {grad.data() + 1, grad.size() - 1}},
                                         {nullptr, nullptr, grad_input.data() + 1});
    ASSERT_TRUE(batch.ok()) << batch.status();
    Scratch scratch;
    for (int64_t i = 0; i < (*batch)->tasks(); ++i) (*batch)->RunTask(i, &scratch);
    EXPECT_EQ(Bytes(grad_input.begin() + 1, grad_input.end()), aligned->grad_input);
  }
}

}  // namespace
}  // namespace lossd::testing
