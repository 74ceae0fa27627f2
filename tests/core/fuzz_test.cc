// Compares random problems with the formulas of docs/semantics.md in long double, on every
// instruction set in turn. Runs a million problems with LOSSD_FULL=1, a few thousand otherwise.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "hwy/highway.h"
#include "tests/core/formulas.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

bool Full() {
  const char* full = std::getenv("LOSSD_FULL");
  return full != nullptr && std::string(full) == "1";
}

/// Spreads the logits at random. Some become -inf, a few NaN or +inf.
void ReplaceLogits(std::mt19937_64* random, OwnedProblem* problem) {
  std::vector<double> x = Values(problem->input.spec.dtype, problem->input.bytes);
  const double spread = std::ldexp(1.0, static_cast<int>((*random)() % 12) - 6);
  const double offset = (*random)() % 8 == 0 ? 700.0 : 0.0;
  const bool wild = (*random)() % 4 == 0;
  for (double& value : x) {
    value = value * spread + offset;
    if (wild && (*random)() % 9 == 0) value = -HUGE_VAL;
    if (wild && (*random)() % 300 == 0) value = (*random)() % 2 == 0 ? NAN : HUGE_VAL;
  }
  problem->input = MakeTensor(problem->input.spec.dtype, problem->input.spec.shape, x);
}

/// Replaces the problem by one whose rows are too wide for tiles.
void Widen(std::mt19937_64* random, OwnedProblem* problem) {
  const auto classes = static_cast<int64_t>(65 + (*random)() % 1500);
  std::normal_distribution<double> normal(0, 4);
  std::vector<double> x(static_cast<size_t>(3 * classes));
  for (double& value : x) value = normal(*random);
  std::vector<double> labels(3);
  for (double& label : labels) {
    label = static_cast<double>((*random)() % static_cast<uint64_t>(classes));
  }
  *problem = MakeIndex(static_cast<DType>((*random)() % 4), {3, classes}, x, labels);
  problem->criterion.reduction = static_cast<Reduction>((*random)() % 3);
  if ((*random)() % 4 == 0) problem->criterion.cross_entropy().label_smoothing = 0.1;
}

/// Moves logits, targets, weights and incoming gradients near both ends of the range, so that
/// intermediate values leave the range and results need not.
void ReplaceByGreat(std::mt19937_64* random, OwnedProblem* problem) {
  const DType dtype = problem->input.spec.dtype;
  const int most = dtype == DType::kFloat64 ? 1020 : 124;
  const auto greatest = static_cast<double>(Greatest(dtype));
  const auto enlarge = [&](int least, OwnedTensor* tensor) {
    if ((*random)() % 3 == 0) return;
    const int power = least + static_cast<int>((*random)() % static_cast<uint64_t>(most - least));
    const bool all = (*random)() % 2 == 0;
    const bool positive = (*random)() % 2 == 0;
    std::vector<double> values = Values(tensor->spec.dtype, tensor->bytes);
    for (double& value : values) {
      if (all || (*random)() % 2 == 0) value = std::ldexp(value, power);
      if (positive && least != most / 2) value = std::abs(value);
      value = std::clamp(value, -greatest, greatest);
    }
    *tensor = MakeTensor(tensor->spec.dtype, tensor->spec.shape, values);
  };
  enlarge(most / 2, &problem->input);
  if (!IsInteger(problem->target.spec.dtype)) enlarge(0, &problem->target);
  if (problem->weight) enlarge(-most * 3 / 4, &*problem->weight);
  if (problem->grad_output) enlarge(-most * 3 / 4, &*problem->grad_output);
}

TEST(Fuzz, GreatNumbersGiveTheFormulas) {
  int tried = 0;
  const int problems = Full() ? 100000 : 1500;
  for (uint64_t seed = 0; tried < problems; ++seed) {
    std::mt19937_64 random(seed);
    OwnedProblem problem = RandomProblem(&random);
    if (problem.input.spec.dtype == DType::kFloat16) continue;
    ++tried;
    if (seed % 10 == 0) Widen(&random, &problem);
    if (problem.input.spec.dtype == DType::kFloat16) continue;
    ReplaceByGreat(&random, &problem);
    const auto results = RunBatch(problem);
    ASSERT_TRUE(results.ok()) << "seed " << seed << ": " << results.status();
    ASSERT_EQ(CheckFormulas(problem, *results), "")
        << "seed " << seed << ", " << Name(problem.input.spec.dtype);
  }
}

TEST(Fuzz, EveryInstructionSetGivesTheFormulas) {
  hwy::SetSupportedTargetsForTest(0);
  std::vector<int64_t> targets;
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    targets.push_back(left & -left);
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr uint64_t kSome = 1500;  // Sanitizers are slow.
#else
  constexpr uint64_t kSome = 6000;
#endif
  const uint64_t problems = Full() ? 1000000 : kSome;
  // The last seed is one that failed once.
  for (uint64_t i = 0; i <= problems; ++i) {
    const uint64_t seed = i < problems ? i : 762071;
    std::mt19937_64 random(seed);
    OwnedProblem problem = RandomProblem(&random);
    if (seed % 10 == 0) Widen(&random, &problem);
    ReplaceLogits(&random, &problem);
    hwy::SetSupportedTargetsForTest(targets[seed % targets.size()]);
    const auto results = RunBatch(problem);
    ASSERT_TRUE(results.ok()) << "seed " << seed << ": " << results.status();
    ASSERT_EQ(CheckFormulas(problem, *results), "") << "seed " << seed;
  }
  hwy::SetSupportedTargetsForTest(0);
  std::cout << problems << " problems; the greatest error took "
            << static_cast<double>(GreatestShare()) << " of its tolerance\n";
}

}  // namespace
}  // namespace lossd::testing
