// The exponential in float32 and the two-class loss, over all float32 bit patterns with
// LOSSD_FULL=1 and over a sample otherwise.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "core/passes/row_kernels.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

bool Full() {
  const char* full = std::getenv("LOSSD_FULL");
  return full != nullptr && std::string(full) == "1";
}

/// Calls function(x) with pieces of consecutive sampled patterns of both signs with |x| <= `most`.
template <typename Function>
void ForPatterns(float most, uint32_t sample, const Function& function) {
  constexpr size_t kPiece = 4096;
  const uint32_t step = Full() ? 1 : sample;
  const auto last = std::bit_cast<uint32_t>(most);
  std::vector<float> piece;
  for (const uint32_t sign : {0U, 0x80000000U}) {
    for (uint64_t bits = 0; bits <= last; bits += step) {
      piece.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits) | sign));
      if (piece.size() == kPiece || bits + step > last) {
        function(piece);
        piece.clear();
      }
    }
  }
}

/// e^x 2^-k in double, by the C++ library. The error of reducing x is far below the measured
/// errors.
double ExpRelativeTo(double x, int32_t k) {
  const double r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33;
  return std::exp(r);
}

// The passes evaluate exp(x) kExpFactor 2^(61 - k) for a row's k. The factor 2^-61 brings it back
// near 1.
TEST(Exp, WithinOneUlpOverAllFloats) {
  const RowKernels& kernels = GetRowKernels(DType::kFloat32, DType::kFloat32);
  double worst = 0;
  float where = 0;
  uint64_t count = 0;
  std::vector<float> out;
  ForPatterns(1024.0F, 2003, [&](const std::vector<float>& x) {
    // Rows of few neighbouring values, so that none is too far below its row's maximum for the
    // pass.
    for (size_t begin = 0; begin < x.size(); begin += 16) {
      const size_t size = std::min<size_t>(16, x.size() - begin);
      const auto* row = reinterpret_cast<const std::byte*>(x.data() + begin);
      FloatRowStats stats;
      kernels.analyze(&row, 1, size, nullptr, nullptr, &stats);
      ASSERT_TRUE(stats.in_range);
      out.resize(size);
      // No label: all entries of the row are exponentials.
      kernels.index_gradient(row, size, stats, 0x1p-61F, {}, false,
                             reinterpret_cast<std::byte*>(out.data()));
      for (size_t i = 0; i < size; ++i) {
        const double exact =
            kExpFactor * ExpRelativeTo(static_cast<double>(x[begin + i]), stats.max_exponent);
        const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
        const double error = std::abs(static_cast<double>(out[i]) - exact) / ulp;
        if (error > worst) {
          worst = error;
          where = x[begin + i];
        }
      }
      count += size;
    }
  });
  std::cout << "exp in float32: worst " << worst << " ulp, at " << where << ", of " << count
            << " arguments\n";
  EXPECT_LE(worst, 1.2);
  EXPECT_GT(worst, 0.5) << "an exponential in float32 cannot be that good";
}

// The loss of logits (0, x) with y = 0 is log(1 + e^x). It tests every step of the passes,
// including exp and log1p, over all x.
TEST(Exp, TwoClassLossOverAllFloats) {
  double worst = 0;
  float where = 0;
  uint64_t count = 0;
  ForPatterns(104.0F, 2003, [&](const std::vector<float>& x) {
    OwnedProblem problem;
    problem.criterion.reduction = Reduction::kNone;
    problem.input.spec = {DType::kFloat32, {static_cast<int64_t>(x.size()), 2}};
    problem.input.bytes.resize(x.size() * 8);
    for (size_t i = 0; i < x.size(); ++i) {
      std::memcpy(&problem.input.bytes[i * 8 + 4], &x[i], 4);
    }
    problem.target.spec = {DType::kUInt8, {static_cast<int64_t>(x.size())}};
    problem.target.bytes.resize(x.size());
    const auto results = RunBatch(problem);
    for (size_t i = 0; i < x.size(); ++i) {
      float loss = 0;
      std::memcpy(&loss, &results->loss[i * 4], 4);
      const auto z = static_cast<double>(x[i]);
      const double exact = z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z));
      const double ulp = std::ldexp(1.0, std::max(std::ilogb(exact) - 23, -149));
      const double error = std::abs(static_cast<double>(loss) - exact) / ulp;
      if (error > worst) {
        worst = error;
        where = x[i];
      }
    }
    count += x.size();
  });
  std::cout << "two-class loss in float32: worst " << worst << " ulp, at x = " << where << ", of "
            << count << " logits\n";
  EXPECT_LE(worst, 2.0);
}

}  // namespace
}  // namespace lossd::testing
