// Compares losses and gradients of float32 rows with the formulas in long double, for few classes
// and for slightly more classes than a tile takes. Measures the cost in accuracy of adding two
// exponentials in float32 and of pairs of float32. Most terms are negligible, so that the whole
// error comes from the few others.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <vector>

#include "core/problem/criterion.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

double UlpsOff(float got, long double exact) {
  const int exponent = exact == 0 ? -149 : std::max(std::ilogb(exact) - 23, -149);
  return static_cast<double>(std::abs(static_cast<long double>(got) - exact) /
                             std::ldexp(1.0L, exponent));
}

float At(const Bytes& bytes, size_t i) {
  float value = 0;
  std::memcpy(&value, &bytes[i * sizeof(float)], sizeof(float));
  return value;
}

class TailAccuracy : public ::testing::Test {
 protected:
  /// A row with its maximum anywhere, and with up to four other logits that are about `gap` below
  /// it. The rest are at least 150 below it.
  void FillRow(size_t classes, float* row) {
    const auto uniform = [this](float least, float most) {
      return std::uniform_real_distribution<float>(least, most)(random_);
    };
    const float top = uniform(-80, 80);
    for (size_t c = 0; c < classes; ++c) row[c] = top - uniform(150, 200);
    row[random_() % classes] = top;
    const float gap = random_() % 3 == 0 ? uniform(0, 90) : uniform(0, 6);
    const size_t others = 1 + random_() % 4;
    for (size_t i = 0; i < others; ++i) {
      const size_t c = random_() % classes;
      if (row[c] != top) row[c] = top - gap - uniform(0, 1);
    }
  }

  void Check(size_t classes, size_t rows) {
    OwnedProblem problem;
    problem.criterion.reduction = Reduction::kNone;
    problem.outputs.grad_input = true;
    std::vector<float> logits(rows * classes);
    std::vector<uint8_t> labels(rows);
    for (size_t i = 0; i < rows; ++i) {
      float* row = &logits[i * classes];
      FillRow(classes, row);
      const auto top = static_cast<size_t>(std::max_element(row, row + classes) - row);
      labels[i] = static_cast<uint8_t>(random_() % 3 == 0 ? random_() % classes : top);
    }
    problem.input.spec = {DType::kFloat32,
                          {static_cast<int64_t>(rows), static_cast<int64_t>(classes)}};
    problem.target.spec = {DType::kUInt8, {static_cast<int64_t>(rows)}};
    problem.input.bytes.resize(logits.size() * sizeof(float));
    std::memcpy(problem.input.bytes.data(), logits.data(), problem.input.bytes.size());
    problem.target.bytes.resize(rows);
    std::memcpy(problem.target.bytes.data(), labels.data(), rows);
    const auto results = RunBatch(problem);
    ASSERT_TRUE(results.ok()) << results.status();
    for (size_t i = 0; i < rows; ++i) {
      CheckRow(&logits[i * classes], classes, labels[i], At(results->loss, i), results->grad_input,
               i * classes);
    }
  }

  void CheckRow(const float* row, size_t classes, size_t label, float loss, const Bytes& gradient,
                size_t begin) {
    const auto top = static_cast<size_t>(std::max_element(row, row + classes) - row);
    std::vector<long double> e(classes);
    long double tail = 0;
    for (size_t c = 0; c < classes; ++c) {
      e[c] = std::exp(static_cast<long double>(row[c]) - static_cast<long double>(row[top]));
      if (c != top) tail += e[c];
    }
    const long double below =
        static_cast<long double>(row[top]) - static_cast<long double>(row[label]);
    worst_loss_ = std::max(worst_loss_, UlpsOff(loss, below + std::log1p(tail)));
    for (size_t c = 0; c < classes; ++c) {
      // For the label, minus the sum of the other terms, with the maximum's term kept apart, so
      // that nothing cancels.
      const long double others = label == top ? tail : 1 + (tail - e[label]);
      const long double exact = c == label ? -others / (1 + tail) : e[c] / (1 + tail);
      worst_gradient_ = std::max(worst_gradient_, UlpsOff(At(gradient, begin + c), exact));
    }
    ++count_;
  }

  std::mt19937_64 random_{7};
  double worst_loss_ = 0;
  double worst_gradient_ = 0;
  uint64_t count_ = 0;
};

TEST_F(TailAccuracy, StaysWithinThePromise) {
  const bool full = std::getenv("LOSSD_FULL") != nullptr;
  const size_t rows = full ? 400000 : 8000;
  for (const size_t classes : {2, 3, 4, 5, 6, 8, 10, 17, 33, 64, 65, 96, 130, 200}) {
    Check(classes, rows);
  }
  std::cout << "tails: worst loss " << worst_loss_ << " ulp, gradient " << worst_gradient_
            << " ulp, of " << count_ << " rows\n";
  EXPECT_LE(worst_loss_, 2.0);
  EXPECT_LE(worst_gradient_, 4.0);
  EXPECT_GT(worst_loss_, 0.5) << "float32 cannot be that good";
}

}  // namespace
}  // namespace lossd::testing
