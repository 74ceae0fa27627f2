// Edge cases in which the service is deliberately better than PyTorch, wrong byte counts, and
// buffers at odd addresses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "core/problem/error.h"
#include "core/sums/summary.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

constexpr double kInf = HUGE_VAL;

TEST(Edges, IgnoredPositionsAreZeroWhateverTheirLogits) {
  for (const Reduction reduction : {Reduction::kNone, Reduction::kSum, Reduction::kMean}) {
    OwnedProblem problem =
        MakeIndex(DType::kFloat32, {3, 2}, {NAN, kInf, -kInf, -kInf, 1, 0}, {-100, -100, 0});
    problem.criterion.reduction = reduction;
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
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs.grad_input = problem.outputs.grad_target = true;
  problem.input = MakeTensor(DType::kFloat64, {1, 3}, {1, -kInf, 0});
  problem.target = MakeTensor(DType::kFloat64, {1, 3}, {0.5, 0, 0.5});
  const auto results = RunBatch(problem);
  EXPECT_NEAR(Values(DType::kFloat64, results->loss)[0], std::log1p(std::exp(-1.0)) + 0.5, 1e-15);
  EXPECT_EQ(Values(DType::kFloat64, results->grad_input)[1], 0.0);
  // A class weight of zero has the same effect.
  OwnedProblem weighted = MakeIndex(DType::kFloat32, {1, 2}, {-kInf, 0}, {0});
  weighted.criterion.reduction = Reduction::kNone;
  weighted.weight = MakeTensor(DType::kFloat32, {2}, {0, 1});
  EXPECT_EQ(Values(DType::kFloat32, RunBatch(weighted)->loss)[0], 0.0);
}

TEST(Edges, MinusInfinityWithMass) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {-kInf, 0}, {0});
  problem.criterion.cross_entropy().label_smoothing = 0.1;
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
  ignored.criterion.empty_mean = EmptyMean::kZero;
  EXPECT_EQ(Values(DType::kFloat32, RunBatch(ignored)->loss)[0], 0.0);
  for (const double g : Values(DType::kFloat32, RunBatch(ignored)->grad_input)) EXPECT_EQ(g, 0.0);
  // kZero is only for batches whose positions are all ignored, not for weights of zero.
  OwnedProblem weightless = MakeIndex(DType::kFloat32, {1, 2}, {1, 2}, {0});
  weightless.criterion.empty_mean = EmptyMean::kZero;
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

/// A problem of one float64 position with probabilities.
OwnedProblem Probabilities64(const std::vector<double>& x, const std::vector<double>& t) {
  OwnedProblem problem;
  const auto classes = static_cast<int64_t>(x.size());
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs.grad_input = true;
  problem.input = MakeTensor(DType::kFloat64, {1, classes}, x);
  problem.target = MakeTensor(DType::kFloat64, {1, classes}, t);
  return problem;
}

double Loss64(const OwnedProblem& problem) {
  return Values(DType::kFloat64, RunBatch(problem)->loss)[0];
}

void ExpectGradient64(const OwnedProblem& problem, const std::vector<double>& expected) {
  const auto gradient = Values(DType::kFloat64, RunBatch(problem)->grad_input);
  ASSERT_EQ(gradient.size(), expected.size());
  for (size_t c = 0; c < expected.size(); ++c) EXPECT_DOUBLE_EQ(gradient[c], expected[c]) << c;
}

// A finite result is not lost because an intermediate value is out of range.
TEST(Range, LogitsFurtherApartThanTheGreatestDouble) {
  EXPECT_DOUBLE_EQ(Loss64(Probabilities64({1e308, -1e308, 0}, {.5, .25, .25})), 7.5e307);
  OwnedProblem smoothed = MakeIndex(DType::kFloat64, {1, 3}, {1e308, -1e308, 0}, {0});
  smoothed.criterion.cross_entropy().label_smoothing = 0.1;
  EXPECT_DOUBLE_EQ(Loss64(smoothed), 1e307);
  OwnedProblem light = MakeIndex(DType::kFloat64, {1, 2}, {1e308, -1e308}, {1});
  light.weight = MakeTensor(DType::kFloat64, {2}, {1e-300, 1e-300});
  light.criterion.reduction = Reduction::kSum;
  EXPECT_DOUBLE_EQ(Loss64(light), 2e8);
  // A loss that is itself out of range, and infinite logits.
  EXPECT_EQ(Loss64(MakeIndex(DType::kFloat64, {1, 2}, {1e308, -1e308}, {1})), kInf);
  EXPECT_EQ(Loss64(Probabilities64({1e308, -kInf, 0}, {.5, .25, .25})), kInf);
  EXPECT_EQ(Loss64(Probabilities64({1e308, -kInf, 0}, {.5, 0, .25})), 2.5e307);
}

TEST(Range, WeightsWhoseSumIsInfinite) {
  OwnedProblem problem = MakeIndex(DType::kFloat64, {1, 3}, {0, 0, 0}, {0});
  problem.weight = MakeTensor(DType::kFloat64, {3}, {1e308, 1e308, 1e308});
  problem.criterion.cross_entropy().label_smoothing = 0.1;
  EXPECT_DOUBLE_EQ(Loss64(problem), 1.0986122886681098);
  ExpectGradient64(problem, {-.6, .3, .3});
}

// The sums of losses and of weights are beyond the range of double; their quotient is not.
TEST(Range, MeanOfInfiniteSums) {
  OwnedProblem problem = MakeIndex(DType::kFloat64, {3, 2}, {0, 0, 0, 0, 0, 0}, {0, 1, 0});
  problem.weight = MakeTensor(DType::kFloat64, {2}, {1.5e308, 1e308});
  problem.outputs.grad_weight = true;
  const auto results = RunBatch(problem);
  EXPECT_DOUBLE_EQ(Values(DType::kFloat64, results->loss)[0], std::log(2.0));
  // s = RN(1 / 4e308) is subnormal, with 50 bits.
  const auto gradient = Values(DType::kFloat64, results->grad_input);
  EXPECT_NEAR(gradient[0], -.1875, 1e-14);
  EXPECT_NEAR(gradient[2], .125, 1e-14);
  // All losses are the same, so the mean does not depend on the weights.
  for (const double g : Values(DType::kFloat64, results->grad_weight)) EXPECT_NEAR(g, 0, 1e-320);
  OwnedProblem equal = MakeIndex(DType::kFloat64, {2, 2}, {1, 0, 1, 0}, {0, 1});
  equal.weight = MakeTensor(DType::kFloat64, {2}, {1.2e308, 1.2e308});
  EXPECT_DOUBLE_EQ(Loss64(equal), std::log1p(std::exp(-1.0)) + .5);
}

TEST(Range, ProductsOfHugeAndTiny) {
  // w t is out of range, but w t (-l) is not.
  OwnedProblem problem = Probabilities64({300, 0}, {1e200, 0});
  problem.weight = MakeTensor(DType::kFloat64, {2}, {1e200, 1});
  EXPECT_NEAR(Loss64(problem) / 1e269, 5.148200222412013, 1e-12);
  // Neither is s (p M - m).
  problem.grad_output = MakeTensor(DType::kFloat64, {1}, {1e-200});
  const double tail = 5.148200222412013e-131;
  const auto gradient = Values(DType::kFloat64, RunBatch(problem)->grad_input);
  EXPECT_NEAR(gradient[0] / 1e200, -tail, 1e-16);
  EXPECT_NEAR(gradient[1] / (1e200 * tail), 1, 1e-12);
  // Likewise w g of a class index.
  OwnedProblem hard = MakeIndex(DType::kFloat64, {1, 2}, {300, 0}, {0});
  hard.criterion.reduction = Reduction::kSum;
  hard.weight = MakeTensor(DType::kFloat64, {2}, {1e200, 1});
  hard.grad_output = MakeTensor(DType::kFloat64, {}, {1e200});
  const auto own = Values(DType::kFloat64, RunBatch(hard)->grad_input);
  EXPECT_NEAR(own[1] / 1e269, 5.148200222412013, 1e-12);
  EXPECT_EQ(own[0], -own[1]);
}

TEST(Range, GradientsOfTargetAndWeight) {
  OwnedProblem problem = Probabilities64({1e308, -1e308}, {1e200, .5});
  problem.outputs.grad_target = problem.outputs.grad_weight = true;
  problem.weight = MakeTensor(DType::kFloat64, {2}, {1, 1e200});
  problem.grad_output = MakeTensor(DType::kFloat64, {1}, {1e-300});
  const auto results = RunBatch(problem);
  EXPECT_DOUBLE_EQ(Values(DType::kFloat64, results->grad_target)[1], 2e208);
  EXPECT_DOUBLE_EQ(Values(DType::kFloat64, results->grad_weight)[1], 1e8);
  OwnedProblem index = MakeIndex(DType::kFloat64, {1, 2}, {1e308, -1e308}, {1});
  index.criterion.reduction = Reduction::kSum;
  index.outputs.grad_weight = true;
  index.weight = MakeTensor(DType::kFloat64, {2}, {1, 1});
  index.grad_output = MakeTensor(DType::kFloat64, {}, {1e-300});
  for (const double smoothing : {0.0, 0.5}) {
    index.criterion.cross_entropy().label_smoothing = smoothing;
    const auto gradient = Values(DType::kFloat64, RunBatch(index)->grad_weight);
    EXPECT_DOUBLE_EQ(gradient[1], 2e8 * (1 - smoothing / 2)) << smoothing;
  }
}

// A weight whose product float32 would flush to 0 is not a weight of zero.
TEST(Range, TinyWeightsAndScalesKeepTheirGradients) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const double tiny : {0x1p-70, 0x1p-90, 0x1p-110}) {
      for (const bool weighted : {false, true}) {
        OwnedProblem problem = MakeIndex(dtype, {2, 3}, {0, 0, -1000, 0, 0, 0}, {0, -100});
        problem.criterion.reduction = Reduction::kSum;
        problem.weight = MakeTensor(dtype, {3}, std::vector<double>(3, weighted ? tiny : 1));
        problem.grad_output = MakeTensor(dtype, {}, {weighted ? 1 : tiny});
        const auto gradient = Values(dtype, RunBatch(problem)->grad_input);
        EXPECT_EQ(gradient, (std::vector<double>{-tiny / 2, tiny / 2, 0, 0, 0, 0}));
      }
    }
  }
}

/// Expects that no entry of a gradient exceeds the scale, and that some reach it.
void CheckProbabilities(DType dtype, int64_t classes, bool strided, bool probabilities) {
  std::mt19937_64 random(static_cast<uint64_t>(classes));
  std::uniform_real_distribution<double> uniform(-450, 450);
  constexpr int64_t kRows = 64;
  const auto count = static_cast<size_t>(kRows * classes);
  std::vector<double> x(count);
  for (double& value : x) value = uniform(random);
  std::vector<double> labels(kRows);
  for (double& label : labels)
    label = static_cast<double>(random() % static_cast<uint64_t>(classes));
  Shape shape = {kRows, classes};
  if (strided) shape = {1, classes, kRows};
  OwnedProblem problem;
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs.grad_input = true;
  problem.input = MakeTensor(dtype, shape, x);
  const Shape positions = strided ? Shape{1, kRows} : Shape{kRows};
  problem.target = MakeTensor(DType::kInt64, positions, labels);
  if (probabilities) {
    std::vector<double> t(count);
    for (int64_t n = 0; n < kRows; ++n) {
      const auto y = static_cast<int64_t>(labels[static_cast<size_t>(n)]);
      t[static_cast<size_t>(strided ? y * kRows + n : n * classes + y)] = 1;
    }
    problem.target = MakeTensor(dtype, shape, t);
  }
  for (const double scale : {1.0, 0.7, -1.9}) {
    problem.grad_output =
        MakeTensor(dtype, positions, std::vector<double>(static_cast<size_t>(kRows), scale));
    const double most = std::abs(Values(dtype, problem.grad_output->bytes)[0]);
    double greatest = 0;
    for (const double g : Values(dtype, RunBatch(problem)->grad_input)) {
      greatest = std::max(greatest, std::abs(g));
    }
    EXPECT_EQ(greatest, most) << Name(dtype) << ", " << classes << " classes, strided " << strided
                              << ", probabilities " << probabilities;
  }
}

// No probability is above 1, in any layout and with any kind of target.
TEST(Range, ProbabilitiesAreAtMostOne) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 3}, {-431, 279, 427}, {0});
  const auto gradient = Values(DType::kFloat32, RunBatch(problem)->grad_input);
  EXPECT_EQ(gradient, (std::vector<double>{-1, 0, 1}));
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    for (const int64_t classes : {2, 3, 17, 64, 65, 200, 1500}) {
      for (const bool strided : {false, true}) {
        for (const bool probabilities : {false, true}) {
          CheckProbabilities(dtype, classes, strided, probabilities);
        }
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

// The last element ends where the memory ends, so that the address sanitizer sees any read beyond
// it. The odd start checks that nothing relies on alignment.
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
