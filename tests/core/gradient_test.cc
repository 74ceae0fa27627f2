// Compares gradients with the complex step of the scalar reference.
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "tests/support/problem.h"
#include "tests/support/reference.h"

namespace lossd::testing {
namespace {

using Complex = std::complex<double>;
constexpr double kStep = 1e-100;

struct Pair {
  ReferenceProblem<Complex> reference;
  OwnedProblem problem;
};

/// A float64 problem as OwnedProblem and as reference, with random values of logits, probabilities,
/// weights and incoming gradient.
Pair MakeSetup(bool indices, bool weighted, double smoothing, Reduction reduction,
               std::mt19937_64* random) {
  constexpr size_t kPositions = 5;
  constexpr size_t kClasses = 6;
  std::normal_distribution<double> normal(0, 3);
  std::uniform_real_distribution<double> positive(0.1, 2);
  const auto values = [&](size_t count, auto& distribution) {
    std::vector<double> result(count);
    for (double& value : result) value = distribution(*random);
    return result;
  };
  Pair setup;
  auto& reference = setup.reference;
  auto& problem = setup.problem;
  reference.classes = kClasses;
  reference.reduction = problem.criterion.reduction = reduction;
  reference.label_smoothing = problem.criterion.cross_entropy().label_smoothing = smoothing;
  const auto x = values(kPositions * kClasses, normal);
  reference.input.assign(x.begin(), x.end());
  problem.input = MakeTensor(DType::kFloat64, {kPositions, kClasses}, x);
  problem.outputs.grad_input = true;
  if (indices) {
    reference.labels = {3, 0, -1, 5, 3};
    problem.target = MakeTensor(DType::kInt32, {kPositions}, {3, 0, -100, 5, 3});
  } else {
    const auto t = values(kPositions * kClasses, positive);
    reference.probabilities.assign(t.begin(), t.end());
    problem.target = MakeTensor(DType::kFloat64, {kPositions, kClasses}, t);
    problem.outputs.grad_target = true;
  }
  if (weighted) {
    const auto w = values(kClasses, positive);
    reference.weight.assign(w.begin(), w.end());
    problem.weight = MakeTensor(DType::kFloat64, {kClasses}, w);
    problem.outputs.grad_weight = true;
  }
  const bool none = reduction == Reduction::kNone;
  reference.grad_output = values(none ? kPositions : 1, normal);
  problem.grad_output =
      MakeTensor(DType::kFloat64, none ? Shape{kPositions} : Shape{}, reference.grad_output);
  return setup;
}

void ExpectGradient(const std::string& what, ReferenceProblem<Complex>* reference,
                    std::vector<Complex>* variables, const std::vector<double>& got) {
  ASSERT_EQ(got.size(), variables->size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    (*variables)[i] += Complex(0, kStep);
    const double exact = ReferenceObjective(*reference).imag() / kStep;
    (*variables)[i] = (*variables)[i].real();
    EXPECT_NEAR(got[i], exact, 1e-14 * (1 + std::abs(exact))) << what << "[" << i << "]";
  }
}

TEST(Gradient, AllOfThemByComplexStep) {
  std::mt19937_64 random(5);
  for (const bool indices : {true, false}) {
    for (const bool weighted : {true, false}) {
      for (const double smoothing : {0.0, 0.2, 1.0}) {
        for (const Reduction reduction : {Reduction::kNone, Reduction::kSum, Reduction::kMean}) {
          Pair setup = MakeSetup(indices, weighted, smoothing, reduction, &random);
          auto& reference = setup.reference;
          const auto results = RunBatch(setup.problem);
          ASSERT_TRUE(results.ok()) << results.status();
          ExpectGradient("grad_input", &reference, &reference.input,
                         Values(DType::kFloat64, results->grad_input));
          if (!indices) {
            ExpectGradient("grad_target", &reference, &reference.probabilities,
                           Values(DType::kFloat64, results->grad_target));
          }
          if (weighted) {
            ExpectGradient("grad_weight", &reference, &reference.weight,
                           Values(DType::kFloat64, results->grad_weight));
          }
        }
      }
    }
  }
}

TEST(Gradient, LossAgreesWithTheReference) {
  std::mt19937_64 random(6);
  for (const bool indices : {true, false}) {
    Pair setup = MakeSetup(indices, true, 0.1, Reduction::kMean, &random);
    setup.reference.grad_output.clear();
    const double loss = Values(DType::kFloat64, RunBatch(setup.problem)->loss)[0];
    EXPECT_NEAR(loss, ReferenceObjective(setup.reference).real(), 1e-14 * std::abs(loss));
  }
}

// With a given normalizer, the divisor of mean does not depend on the weights.
TEST(Gradient, SuppliedNormalizerIsAConstant) {
  std::mt19937_64 random(8);
  Pair setup = MakeSetup(true, true, 0.0, Reduction::kMean, &random);
  setup.problem.criterion.normalizer = 4.0;
  setup.reference.reduction = Reduction::kSum;
  setup.reference.grad_output[0] /= 4.0;
  const auto results = RunBatch(setup.problem);
  ExpectGradient("grad_weight", &setup.reference, &setup.reference.weight,
                 Values(DType::kFloat64, results->grad_weight));
  ExpectGradient("grad_input", &setup.reference, &setup.reference.input,
                 Values(DType::kFloat64, results->grad_input));
}

}  // namespace
}  // namespace lossd::testing
