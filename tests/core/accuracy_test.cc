// Rounding errors relative to 200-bit truth, over rows that break naive formulas.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/problem/load.h"
#include "core/simd/math.h"
#include "tests/support/problem.h"
#include "tests/support/truth.h"

namespace lossd::testing {
namespace {

struct NamedRow {
  std::string name;
  std::vector<double> x;
};

/// Rows of `classes` logits that F represents exactly.
template <typename F>
std::vector<NamedRow> AdversarialRows(size_t classes, std::mt19937_64* random) {
  const auto fill = [classes](auto&& value) {
    std::vector<double> x(classes);
    for (size_t c = 0; c < classes; ++c) x[c] = static_cast<double>(static_cast<F>(value(c)));
    return x;
  };
  std::normal_distribution<double> normal(0, 5);
  std::uniform_real_distribution<double> uniform(-80, 80);
  const double step = 60.0 / static_cast<double>(classes);
  const double tiny = std::numeric_limits<F>::denorm_min();
  std::vector<NamedRow> rows = {
      {"all equal", fill([](size_t) { return 3.7; })},
      {"one huge", fill([](size_t c) { return c == 0 ? 90.0 : 0.1; })},
      {"one tiny", fill([](size_t c) { return c == 0 ? -90.0 : 0.1; })},
      {"ascending", fill([step](size_t c) { return step * static_cast<double>(c); })},
      {"descending", fill([step](size_t c) { return -step * static_cast<double>(c); })},
      {"alternating", fill([](size_t c) { return c % 2 == 0 ? 40.3 : -40.7; })},
      {"denormals", fill([tiny](size_t c) { return tiny * static_cast<double>(c); })},
      {"1e30 spread",
       fill([](size_t c) { return c % 3 == 0 ? 1e30 : (c % 3 == 1 ? -1e30 : 1.0); })},
      {"near ties", fill([](size_t c) { return 1.0 + 1e-7 * static_cast<double>(c % 3); })},
      {"compensation", fill([](size_t c) { return c == 0 ? 80.1 : 0.7; })},
      {"normal", fill([&](size_t) { return normal(*random); })},
      {"uniform", fill([&](size_t) { return uniform(*random); })},
      {"offset", fill([&](size_t) { return 1e4 + normal(*random); })},
  };
  // From a gap with a remainder near 1 to gaps whose loss is subnormal and then 0.
  for (const double gap : {0.5, 5.0, 17.0, 30.0, 86.0, 88.0, 95.0, 103.0, 110.0, 700.0, 744.0}) {
    rows.push_back(
        {"gap " + std::to_string(gap), fill([gap](size_t c) { return c == 0 ? 0.3 : 0.3 - gap; })});
  }
  return rows;
}

struct Worst {
  double loss = 0;
  double gradient = 0;
  std::string where;
};

/// The worst errors of loss and gradient in ulps, with the first and with the last class as label.
template <typename F>
Worst MeasureRows(DType dtype, const std::vector<size_t>& sizes) {
  Worst worst;
  std::mt19937_64 random(7);
  for (const size_t classes : sizes) {
    for (const NamedRow& row : AdversarialRows<F>(classes, &random)) {
      const TruthRow truth(row.x);
      for (const size_t y : {size_t{0}, classes - 1}) {
        OwnedProblem problem;
        problem.criterion.reduction = Reduction::kSum;
        problem.outputs.grad_input = true;
        problem.input = MakeTensor(dtype, {static_cast<int64_t>(classes)}, row.x);
        problem.target = MakeTensor(DType::kInt64, {}, {static_cast<double>(y)});
        const auto results = RunBatch(problem);
        const F loss = static_cast<F>(Values(dtype, results->loss)[0]);
        const double error = UlpError(loss, truth.NegativeLog(y));
        if (error > worst.loss) {
          worst.loss = error;
          worst.where = row.name + ", C = " + std::to_string(classes);
        }
        const std::vector<double> gradient = Values(dtype, results->grad_input);
        for (size_t c = 0; c < classes; c += std::max<size_t>(1, classes / 50)) {
          const Big exact = c == y ? truth.SoftmaxMinusOne(c) : truth.Softmax(c);
          worst.gradient = std::max(worst.gradient, UlpError(static_cast<F>(gradient[c]), exact));
        }
      }
    }
  }
  return worst;
}

const std::vector<size_t>& Sizes() {
  static const std::vector<size_t> sizes = {1,  2,  3,  7,   8,    9,    15,    16,
                                            17, 31, 64, 100, 1000, 4096, 20000, 200000};
  return sizes;
}

TEST(Accuracy, Float32LossWithin2UlpAndGradientWithin4) {
  const Worst worst = MeasureRows<float>(DType::kFloat32, Sizes());
  std::cout << "worst float32: loss " << worst.loss << " ulp (" << worst.where << "), gradient "
            << worst.gradient << " ulp\n";
  EXPECT_LE(worst.loss, 2.0) << worst.where;
  EXPECT_LE(worst.gradient, 4.0);
}

TEST(Accuracy, Float64LossAndGradientWithin4Ulp) {
  const Worst worst = MeasureRows<double>(DType::kFloat64, Sizes());
  std::cout << "worst float64: loss " << worst.loss << " ulp (" << worst.where << "), gradient "
            << worst.gradient << " ulp\n";
  EXPECT_LE(worst.loss, 4.0) << worst.where;
  EXPECT_LE(worst.gradient, 4.0);
}

TEST(Accuracy, TinyLossIsNotZero) {
  OwnedProblem problem;
  problem.input = MakeTensor(DType::kFloat32, {1, 2}, {30, 0});
  problem.target = MakeTensor(DType::kInt64, {1}, {0});
  EXPECT_FLOAT_EQ(static_cast<float>(Values(DType::kFloat32, RunBatch(problem)->loss)[0]),
                  9.357623e-14F);
}

// A weight can bring a loss that float32 alone would flush to zero back into the normal range.
TEST(Accuracy, GreatWeightsOfTinyLosses) {
  for (const size_t classes : {2U, 64U, 65U, 300U}) {
    std::vector<double> x(classes, -150.0);
    x[0] = 0;
    std::vector<double> weight(classes, 1.0);
    weight[0] = 0x1p100;
    OwnedProblem problem;
    problem.criterion.reduction = Reduction::kSum;
    problem.outputs.grad_input = true;
    problem.input = MakeTensor(DType::kFloat32, {static_cast<int64_t>(classes)}, x);
    problem.target = MakeTensor(DType::kInt64, {}, {0});
    problem.weight = MakeTensor(DType::kFloat32, {static_cast<int64_t>(classes)}, weight);
    const auto results = RunBatch(problem);
    const TruthRow truth(x);
    const auto loss = static_cast<float>(Values(DType::kFloat32, results->loss)[0]);
    EXPECT_LE(UlpError(loss, Big(0x1p100) * truth.NegativeLog(0)), 2.0) << classes;
    const auto gradient = Values(DType::kFloat32, results->grad_input);
    EXPECT_LE(UlpError(static_cast<float>(gradient[1]), Big(0x1p100) * truth.Softmax(1)), 4.0);
  }
}

/// Losses of soft targets whose masses are all at least 0 are within a few ulps of the exact loss.
TEST(Accuracy, SmoothedAndProbabilityLosses) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> share(0, 1);
  double worst32 = 0;
  double worst64 = 0;
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (const size_t classes : {2U, 5U, 33U, 1000U}) {
      for (const NamedRow& row : AdversarialRows<float>(classes, &random)) {
        std::vector<double> t(classes);
        for (double& value : t) value = static_cast<double>(static_cast<float>(share(random)));
        const double e = 0.1;
        OwnedProblem problem;
        problem.criterion.cross_entropy().label_smoothing = e;
        problem.criterion.reduction = Reduction::kSum;
        problem.input = MakeTensor(dtype, {static_cast<int64_t>(classes)}, row.x);
        problem.target = MakeTensor(dtype, {static_cast<int64_t>(classes)}, t);
        const double loss = Values(dtype, RunBatch(problem)->loss)[0];
        const TruthRow truth(row.x);
        Big exact;
        for (size_t c = 0; c < classes; ++c) {
          const Big mass =
              (Big(1) - Big(e)) * Big(t[c]) + Big(e) / Big(static_cast<double>(classes));
          exact = exact + mass * truth.NegativeLog(c);
        }
        if (dtype == DType::kFloat32) {
          worst32 = std::max(worst32, UlpError(static_cast<float>(loss), exact));
        } else {
          worst64 = std::max(worst64, UlpError(loss, exact));
        }
      }
    }
  }
  std::cout << "worst soft loss: float32 " << worst32 << " ulp, float64 " << worst64 << " ulp\n";
  EXPECT_LE(worst32, 2.0);
  EXPECT_LE(worst64, 4.0);
}

TEST(Math, ExpAndLog1pWithinOneUlp) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(-745, 0);
  double worst_exp = 0;
  double worst_log = 0;
  for (int i = 0; i < 20000; ++i) {
    const double x = i % 2 == 0 ? uniform(random) : uniform(random) / 745;
    if (x > -708) worst_exp = std::max(worst_exp, UlpError(ExpNonPositive(x), Exp(Big(x))));
    const double s = std::exp(uniform(random) / 12 + 14);
    worst_log = std::max(worst_log, UlpError(Log1pNonNegative(s), Log1p(Big(s))));
  }
  std::cout << "worst exp " << worst_exp << " ulp, log1p " << worst_log << " ulp\n";
  EXPECT_LE(worst_exp, 1.0);
  EXPECT_LE(worst_log, 1.0);
  EXPECT_EQ(ExpNonPositive(0), 1.0);
  EXPECT_EQ(ExpNonPositive(-HUGE_VAL), 0.0);
  EXPECT_EQ(Log1pNonNegative(0), 0.0);
}

}  // namespace
}  // namespace lossd::testing
