// The negative log-likelihood, in cases that the conformance vectors do not cover.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/batch.h"
#include "core/problem/criterion.h"
#include "core/problem/nll_loss.h"
#include "core/problem/plan.h"
#include "core/sums/summary.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

OwnedProblem Nll(DType dtype, Shape shape, const std::vector<double>& x,
                 const std::vector<double>& labels) {
  OwnedProblem problem = MakeIndex(dtype, std::move(shape), x, labels);
  problem.criterion.kind = NllLoss();
  return problem;
}

TEST(Nll, ProbabilitiesAreRefused) {
  OwnedProblem problem = Nll(DType::kFloat32, {1, 2}, {-1, -2}, {0});
  problem.target = MakeTensor(DType::kFloat32, {1, 2}, {0.5, 0.5});
  ExpectError(Plan::Create(problem.problem()).status(), absl::StatusCode::kInvalidArgument,
              "target.dtype", "DTYPE_MISMATCH");
}

TEST(Nll, PathsNameTheKind) {
  OwnedProblem problem = Nll(DType::kFloat32, {1, 2}, {-1, -2}, {0});
  problem.weight = MakeTensor(DType::kFloat32, {3}, {1, 1, 1});
  ExpectError(Plan::Create(problem.problem()).status(), absl::StatusCode::kInvalidArgument,
              "criterion.nll_loss.weight.shape", "SHAPE_MISMATCH");
  problem.weight.reset();
  problem.criterion.class_options().class_axis = 2;
  ExpectError(Plan::Create(problem.problem()).status(), absl::StatusCode::kInvalidArgument,
              "criterion.nll_loss.class_axis", "CLASS_AXIS_RANGE");
}

TEST(Nll, ZeroWeightTakesNothing) {
  OwnedProblem problem = Nll(DType::kFloat32, {2, 2}, {-kInf, 0, -1, -2}, {0, 1});
  problem.weight = MakeTensor(DType::kFloat32, {2}, {0, 2});
  problem.criterion.reduction = Reduction::kNone;
  const auto results = *RunBatch(problem);
  EXPECT_EQ(Values(DType::kFloat32, results.loss), (std::vector<double>{0, 4}));
  const auto gradient = Values(DType::kFloat32, results.grad_input);
  EXPECT_EQ(gradient, (std::vector<double>{0, 0, 0, -2}));
  for (const double entry : gradient) EXPECT_TRUE(entry != 0 || !std::signbit(entry));
}

TEST(Nll, CountsByRank) {
  const double nan = std::nan("");
  OwnedProblem problem =
      Nll(DType::kFloat32, {4, 3}, {-1, -2, -3, -2, -1, -1, -2, -1, -1, -1, nan, -5}, {0, 1, 2, 0});
  problem.outputs.top_k = 2;
  const auto results = *RunBatch(problem);
  // The first of equal log-probabilities ranks first; a row with NaN has no ranks.
  EXPECT_EQ(results.summary.correct, 2U);
  EXPECT_EQ(results.summary.correct_top_k, 3U);
}

TEST(Nll, LogSumExpOfLogProbabilitiesIsZero) {
  OwnedProblem problem =
      Nll(DType::kFloat64, {2, 2}, {std::log(0.25), std::log(0.75), 1, 1}, {0, -100});
  problem.outputs.log_sum_exp = true;
  const auto values = Values(DType::kFloat64, RunBatch(problem)->log_sum_exp);
  EXPECT_NEAR(values[0], 0, 1e-15);
  EXPECT_NEAR(values[1], 1 + std::log(2), 1e-15);
}

// Cross-entropy of log-probabilities has the same loss and the same weight gradient.
TEST(Nll, IsCrossEntropyOfLogProbabilities) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> logit(-4, 4);
  constexpr int64_t kRows = 37;
  constexpr int64_t kClasses = 90;
  std::vector<double> x(kRows * kClasses);
  std::vector<double> labels(kRows);
  for (int64_t n = 0; n < kRows; ++n) {
    double sum = 0;
    for (int64_t c = 0; c < kClasses; ++c) sum += std::exp(x[n * kClasses + c] = logit(random));
    for (int64_t c = 0; c < kClasses; ++c) x[n * kClasses + c] -= std::log(sum);
    labels[n] = static_cast<double>(random() % kClasses);
  }
  std::vector<double> weight(kClasses);
  for (double& w : weight) w = 0.5 + static_cast<double>(random() % 8) / 8;
  OwnedProblem nll = Nll(DType::kFloat64, {kRows, kClasses}, x, labels);
  nll.weight = MakeTensor(DType::kFloat64, {kClasses}, weight);
  nll.outputs.grad_weight = true;
  OwnedProblem cross_entropy = nll;
  cross_entropy.criterion.kind = CrossEntropy();
  const auto got = *RunBatch(nll);
  const auto expected = *RunBatch(cross_entropy);
  EXPECT_NEAR(Values(DType::kFloat64, got.loss)[0], Values(DType::kFloat64, expected.loss)[0],
              1e-13);
  const auto got_weight = Values(DType::kFloat64, got.grad_weight);
  const auto expected_weight = Values(DType::kFloat64, expected.grad_weight);
  for (size_t c = 0; c < got_weight.size(); ++c) {
    EXPECT_NEAR(got_weight[c], expected_weight[c], 1e-13) << c;
  }
  EXPECT_EQ(got.summary.correct, expected.summary.correct);
}

// Threads share the tasks of one cut; shards are cut elsewhere.
TEST(Nll, BitsAreThoseOfAnySplit) {
  std::mt19937_64 random(9);
  std::uniform_real_distribution<double> log_probability(-9, 0);
  constexpr int64_t kRows = 400;
  for (const int64_t inner : {int64_t{1}, int64_t{50}}) {
    const int64_t row = 300 * inner;
    std::vector<double> x(static_cast<size_t>(kRows * row));
    for (double& value : x) value = log_probability(random);
    std::vector<double> labels(static_cast<size_t>(kRows * inner));
    for (double& label : labels) label = static_cast<double>(random() % 300);
    const auto run = [&](int64_t begin, int64_t end, int threads) {
      OwnedProblem problem = Nll(DType::kBFloat16, {end - begin, 300, inner},
                                 {x.begin() + begin * row, x.begin() + end * row},
                                 {labels.begin() + begin * inner, labels.begin() + end * inner});
      problem.criterion.reduction = Reduction::kNone;
      return *RunBatch(problem, threads);
    };
    const Results whole = run(0, kRows, 1);
    EXPECT_EQ(Difference(whole, run(0, kRows, 4)), "") << inner;
    Results joined;
    std::vector<Summary> summaries;
    for (int64_t begin = 0; begin < kRows; begin += 37) {
      const Results shard = run(begin, std::min(kRows, begin + 37), 1);
      joined.loss.insert(joined.loss.end(), shard.loss.begin(), shard.loss.end());
      joined.grad_input.insert(joined.grad_input.end(), shard.grad_input.begin(),
                               shard.grad_input.end());
      summaries.push_back(shard.summary);
    }
    joined.summary = *Combine(summaries);
    EXPECT_EQ(Difference(joined, whole), "") << inner;
  }
}

TEST(Nll, SummariesOfTwoLossesDoNotMerge) {
  OwnedProblem problem = Nll(DType::kFloat32, {1, 2}, {-1, -2}, {0});
  const Summary one = RunBatch(problem)->summary;
  problem.criterion.kind = CrossEntropy();
  const Summary other = RunBatch(problem)->summary;
  ExpectError(Combine({one, other}).status(), absl::StatusCode::kInvalidArgument, "summaries[1]",
              "SUMMARY_MISMATCH");
}

}  // namespace
}  // namespace lossd::testing
