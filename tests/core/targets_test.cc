// Every instruction set that this machine can run gives the same bits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <iostream>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/row_targets.h"
#include "hwy/highway.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

/// Selects the best target again after each test.
class TargetsTest : public ::testing::Test {
 protected:
  ~TargetsTest() override { hwy::SetSupportedTargetsForTest(0); }

  /// The targets that are compiled in and that this machine has, best first.
  static std::vector<int64_t> Targets() {
    hwy::SetSupportedTargetsForTest(0);
    std::vector<int64_t> targets;
    for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
      targets.push_back(left & -left);
    }
    return targets;
  }
};

/// Every fifth problem has probabilities, the others class indices; every third has label
/// smoothing. The logits have many magnitudes and include -inf, ties, and rows out of the passes'
/// range.
OwnedProblem MakeProblem(int64_t rows, int64_t classes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 1);
  std::vector<double> x(static_cast<size_t>(rows * classes));
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / static_cast<size_t>(classes);
    const double spread = std::ldexp(1.0, static_cast<int>(row % 9));
    x[i] = normal(random) * spread + (row % 5 == 0 ? 300.0 : 0.0) + (row % 7 == 0 ? -800.0 : 0.0);
    if (random() % 50 == 0) x[i] = -HUGE_VAL;
    if (row % 11 == 3 && random() % 3 == 0) x[i] = 2000;
    if (random() % 20000 == 0) x[i] = NAN;
  }
  std::vector<double> labels(static_cast<size_t>(rows));
  for (double& label : labels) {
    label = static_cast<double>(random() % static_cast<uint64_t>(classes));
  }
  OwnedProblem problem;
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs = {true, true, false, false, true, 3};
  problem.input = MakeTensor(static_cast<DType>(seed % 4 == 1 ? 0 : seed % 4), {rows, classes}, x);
  problem.target = MakeTensor(DType::kInt32, {rows}, labels);
  if (seed % 3 == 0) problem.criterion.cross_entropy().label_smoothing = 0.2;
  if (seed % 5 == 0) {
    std::uniform_real_distribution<double> share(0, 1);
    for (double& value : x) value = share(random);
    problem.target = MakeTensor(problem.input.spec.dtype, {rows, classes}, x);
    problem.outputs.grad_target = true;
  }
  return problem;
}

TEST_F(TargetsTest, AllGiveTheSameBits) {
#ifdef HWY_COMPILE_ONLY_STATIC
  GTEST_SKIP() << "this build has the instruction set of its machine alone";
#endif
  std::vector<OwnedProblem> problems;
  uint64_t seed = 0;
  for (const int64_t classes :
       {1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 1000, 4099}) {
    for (int i = 0; i < 4; ++i) {
      problems.push_back(MakeProblem(1 + 20000 / (classes + 200), classes, ++seed));
    }
  }
  std::vector<Results> expected;
  for (const OwnedProblem& problem : problems) expected.push_back(*RunBatch(problem));
  std::set<std::string> names;
  for (const int64_t target : Targets()) {
    hwy::SetSupportedTargetsForTest(target);
    names.insert(InstructionSet());
    for (size_t i = 0; i < problems.size(); ++i) {
      ASSERT_EQ(Difference(*RunBatch(problems[i]), expected[i]), "")
          << InstructionSet() << ", problem " << i;
    }
  }
  std::string list;
  for (const std::string& name : names) list += " " + name;
  std::cout << "instruction sets run:" << list << "\n";
  EXPECT_GE(names.size(), 2U) << "nothing was compared";
}

FloatRowStats Analyze(const RowKernels& kernels, const std::byte* x, size_t classes) {
  FloatRowStats stats;
  kernels.analyze(&x, 1, classes, nullptr, nullptr, &stats);
  return stats;
}

const std::byte* BytesOf(const std::vector<float>& x) {
  return reinterpret_cast<const std::byte*>(x.data());
}

// A control: the passes are in use, and a change of one ulp in one factor is noticed.
TEST_F(TargetsTest, AChangedFactorIsSeen) {
  const RowKernels& kernels = GetRowKernels(DType::kFloat32, DType::kFloat32);
  const std::vector<float> x = {1, 2, 3, 4, 5};
  const FloatRowStats stats = Analyze(kernels, BytesOf(x), x.size());
  ASSERT_TRUE(stats.in_range);
  std::vector<float> a(5);
  std::vector<float> b(5);
  const auto scale = [&](float factor, std::vector<float>* to) {
    kernels.index_gradient(BytesOf(x), 5, stats, factor, {}, false,
                           reinterpret_cast<std::byte*>(to->data()));
  };
  scale(0x1p-61F, &a);
  scale(std::nextafter(0x1p-61F, 1.0F), &b);
  EXPECT_NE(a, b);
  EXPECT_NEAR(a[4] / stats.max_mantissa, 1.0, 1e-6);
}

TEST_F(TargetsTest, StatsOfHardRows) {
  for (const int64_t target : Targets()) {
    hwy::SetSupportedTargetsForTest(target);
    const RowKernels& kernels = GetRowKernels(DType::kFloat32, DType::kFloat32);
    const float inf = HUGE_VALF;
    const auto analyze = [&](const std::vector<float>& x) {
      return Analyze(kernels, BytesOf(x), x.size());
    };
    EXPECT_FALSE(analyze({1, NAN, 2}).in_range);
    EXPECT_FALSE(analyze(std::vector<float>(40, -inf)).in_range);
    EXPECT_FALSE(analyze({1, inf}).in_range);
    EXPECT_FALSE(analyze({5000, 1}).in_range);
    EXPECT_FALSE(analyze({-5000, -inf}).in_range);
    std::vector<float> ties(100, 1.0F);
    ties[37] = ties[80] = 7.0F;
    EXPECT_EQ(kernels.find(BytesOf(ties), ties.size(), 7.0F), 37U);
    EXPECT_EQ(kernels.find(BytesOf(ties), 37, 7.0F), 37U) << "none";
    EXPECT_NEAR(analyze(ties).tail, 1 + 98 * std::exp(-6.0), 1e-6);
    EXPECT_EQ(static_cast<float>(analyze({3}).tail), 0.0F);
    EXPECT_EQ(static_cast<float>(analyze({3, -inf, 3 - 131}).tail), 0.0F);
  }
}

// The reference of a row comes from its first classes. A logit far above the reference changes it.
// A maximum in any place gives the same tail.
TEST_F(TargetsTest, ReferencesChangeInMidRow) {
  const RowKernels& kernels = GetRowKernels(DType::kFloat32, DType::kFloat32);
  for (const float first : {-HUGE_VALF, -3000.0F, -1e9F, -500.0F, 0.0F}) {
    for (const size_t at : {64U, 1023U, 1024U, 3000U, 4095U}) {
      std::vector<float> x(4096, first);
      x[at] = 700.0F;
      x[(at + 100) % 4096] = 698.5F;
      const FloatRowStats stats = Analyze(kernels, BytesOf(x), x.size());
      ASSERT_TRUE(stats.in_range);
      EXPECT_EQ(kernels.find(BytesOf(x), x.size(), stats.max), at);
      EXPECT_NEAR(stats.tail, std::exp(-1.5), 1e-7) << first << " " << at;
    }
  }
}

// In any place of a row and its label within cache lines. The bytes around the row stay unchanged.
TEST_F(TargetsTest, StreamedGradientsAreThePlainOnes) {
  constexpr size_t kClasses = 101;
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal(0, 2);
  std::vector<double> logits(kClasses);
  for (double& logit : logits) logit = normal(random);
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    const OwnedTensor x = MakeTensor(dtype, {1, kClasses}, logits);
    const size_t size = SizeOf(dtype);
    for (const int64_t target : Targets()) {
      hwy::SetSupportedTargetsForTest(target);
      const RowKernels& kernels = GetRowKernels(dtype, dtype);
      const FloatRowStats stats = Analyze(kernels, x.bytes.data(), kClasses);
      for (size_t label = 0; label < kClasses; ++label) {
        const size_t offset = label * size % 64 + 64;
        alignas(64) std::byte memory[2][1024] = {};
        for (const bool stream : {false, true}) {
          kernels.index_gradient(x.bytes.data(), kClasses, stats, -0x1.8p-62F,
                                 {1, {label}, {0.625}}, stream, memory[stream] + offset);
        }
        ASSERT_EQ(std::memcmp(memory[0], memory[1], sizeof(memory[0])), 0)
            << InstructionSet() << " " << Name(dtype) << " " << label;
        double entry = 0;
        LoadAsDouble(dtype, memory[1] + offset + label * size, 1, &entry);
        ASSERT_EQ(entry, 0.625);
      }
    }
  }
}

// Gathering turns strided classes into rows. Scattering puts them back to their places, with
// streaming stores and without, and writes nothing else.
TEST_F(TargetsTest, StridedClassesBecomeRowsAndGoBack) {
  for (const int64_t target : Targets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const DType dtype : {DType::kFloat16, DType::kFloat32, DType::kFloat64}) {
      const RowKernels& kernels = GetRowKernels(dtype, dtype);
      const size_t size = SizeOf(dtype);
      for (const size_t classes : {1, 3, 8, 13, 70}) {
        for (const size_t count : {1, 5, 16, 63, 64}) {
          const size_t step = count + classes % 3 * 8;
          const size_t row_step = classes + 5;
          Bytes from(classes * step * size + 64);
          for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 167 >> 3U);
          const std::byte* first = from.data() + count % 7 * size;
          Bytes rows(count * row_step * size);
          kernels.gather(first, step, classes, count, rows.data(), row_step);
          Bytes expected(from.size());
          for (size_t c = 0; c < classes; ++c) {
            for (size_t i = 0; i < count; ++i) {
              const size_t element = (c * step + i) * size;
              ASSERT_EQ(std::memcmp(&rows[(i * row_step + c) * size], first + element, size), 0);
              std::memcpy(&expected[count % 7 * size + element], first + element, size);
            }
          }
          for (const bool stream : {false, true}) {
            Bytes to(from.size());
            kernels.scatter(rows.data(), row_step, classes, count, stream,
                            to.data() + count % 7 * size, step);
            ASSERT_EQ(to, expected) << InstructionSet() << " " << Name(dtype) << " " << classes
                                    << " x " << count << (stream ? ", streamed" : "");
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace lossd::testing
