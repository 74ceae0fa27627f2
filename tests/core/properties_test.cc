// Row order, splits, threads, class axis and neighbours must not change a bit of the results.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "core/batch.h"
#include "core/fork_join_pool.h"
#include "core/problem/error.h"
#include "core/sums/summary.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

constexpr double kInf = HUGE_VAL;

TEST(Properties, ThreadsDoNotMatter) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const auto one = RunBatch(problem, 1);
    ASSERT_TRUE(one.ok()) << seed << ": " << one.status();
    for (const int threads : {2, 5}) {
      EXPECT_EQ(Difference(*one, *RunBatch(problem, threads)), "") << "seed " << seed;
    }
  }
  // A problem large enough for many tasks.
  std::mt19937_64 random(1);
  std::vector<double> x(3000 * 1000);
  std::vector<double> labels(3000);
  std::normal_distribution<double> normal(0, 3);
  for (double& value : x) value = normal(random);
  for (double& label : labels) label = static_cast<double>(random() % 1000);
  const OwnedProblem large = MakeIndex(DType::kFloat32, {3000, 1000}, x, labels);
  const Results one = *RunBatch(large, 1);
  EXPECT_EQ(Difference(one, *RunBatch(large, 7)), "");
  // With core's own pool of 1 to 16 threads.
  const auto plan = large.plan();
  for (int threads = 1; threads <= 16; ++threads) {
    ForkJoinPool pool(threads);
    Bytes loss(one.loss.size());
    Bytes gradient(one.grad_input.size());
    OutputBuffers outputs;
    outputs.loss = loss.data();
    outputs.grad_input = gradient.data();
    ASSERT_TRUE(EvaluateBatch(plan, large.operands(), outputs, &pool).ok());
    EXPECT_EQ(loss, one.loss) << threads;
    EXPECT_EQ(gradient, one.grad_input) << threads;
  }
}

TEST(Properties, ThePoolRunsEachTaskOnce) {
  ForkJoinPool pool(4);
  for (const int64_t count : {0, 1, 2, 3, 100, 1000}) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      pool.Run(count, [&](int64_t index, Scratch* /*scratch*/) {
        runs[static_cast<size_t>(index)].fetch_add(1);
      });
      for (const std::atomic<int>& times : runs) ASSERT_EQ(times.load(), 1);
    }
  }
}

TEST(Properties, RowOrderPermutesOutputsAndKeepsTheReducedLoss) {
  std::mt19937_64 random(9);
  constexpr int64_t kRows = 61;
  constexpr int64_t kClasses = 37;
  std::vector<double> x(kRows * kClasses);
  std::vector<double> labels(kRows);
  std::normal_distribution<double> normal(0, 8);
  for (double& value : x) value = normal(random);
  for (double& label : labels) label = static_cast<double>(random() % kClasses);
  std::vector<size_t> order(kRows);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<double> x2;
  std::vector<double> labels2;
  for (const size_t row : order) {
    x2.insert(x2.end(), x.begin() + static_cast<ptrdiff_t>(row * kClasses),
              x.begin() + static_cast<ptrdiff_t>((row + 1) * kClasses));
    labels2.push_back(labels[row]);
  }
  for (const Reduction reduction : {Reduction::kMean, Reduction::kSum}) {
    OwnedProblem a = MakeIndex(DType::kFloat32, {kRows, kClasses}, x, labels);
    OwnedProblem b = MakeIndex(DType::kFloat32, {kRows, kClasses}, x2, labels2);
    a.criterion.reduction = b.criterion.reduction = reduction;
    const auto left = RunBatch(a);
    const auto right = RunBatch(b);
    EXPECT_EQ(left->loss, right->loss);
    const size_t row_bytes = kClasses * 4;
    for (size_t i = 0; i < order.size(); ++i) {
      EXPECT_EQ(std::memcmp(&left->grad_input[order[i] * row_bytes],
                            &right->grad_input[i * row_bytes], row_bytes),
                0);
    }
  }
}

/// The same logits with the classes last, (N, inner, C), and in the middle, (N, C, inner). Some
/// logits are infinite, and some rows must leave the float32 passes.
struct TwoLayouts {
  OwnedProblem last;
  OwnedProblem middle;
};

/// Replaces the targets of both layouts by probabilities.
void MakeProbabilities(DType dtype, int64_t samples, int64_t classes, int64_t inner,
                       std::mt19937_64* random, TwoLayouts* layouts) {
  std::uniform_real_distribution<double> share(0, 1);
  const auto count = static_cast<size_t>(samples * classes * inner);
  std::vector<double> last(count);
  std::vector<double> middle(count);
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t i = 0; i < inner; ++i) {
      for (int64_t c = 0; c < classes; ++c) {
        const double t = (*random)() % 5 == 0 ? 0 : share(*random);
        last[static_cast<size_t>((n * inner + i) * classes + c)] = t;
        middle[static_cast<size_t>((n * classes + c) * inner + i)] = t;
      }
    }
  }
  layouts->last.target = MakeTensor(dtype, {samples, inner, classes}, last);
  layouts->middle.target = MakeTensor(dtype, {samples, classes, inner}, middle);
  layouts->last.outputs.grad_target = layouts->middle.outputs.grad_target = true;
}

/// If `smoothing` is below 0, the targets are probabilities, with label smoothing -smoothing.
TwoLayouts MakeLayouts(DType dtype, int64_t samples, int64_t classes, int64_t inner,
                       double smoothing, std::mt19937_64* random) {
  std::normal_distribution<double> normal(0, 4);
  const auto count = static_cast<size_t>(samples * classes * inner);
  std::vector<double> last(count);
  std::vector<double> middle(count);
  std::vector<double> labels(static_cast<size_t>(samples * inner));
  for (double& label : labels) {
    label = static_cast<double>((*random)() % static_cast<uint64_t>(classes));
    if ((*random)() % 10 == 0) label = -100;
  }
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t i = 0; i < inner; ++i) {
      const double offset = i % 13 == 5 ? 3000 : 0;
      for (int64_t c = 0; c < classes; ++c) {
        double x = normal(*random) + offset;
        if ((*random)() % 40 == 0) x = -kInf;
        if ((*random)() % 400 == 0) x = NAN;
        last[static_cast<size_t>((n * inner + i) * classes + c)] = x;
        middle[static_cast<size_t>((n * classes + c) * inner + i)] = x;
      }
    }
  }
  TwoLayouts layouts;
  layouts.last.outputs.grad_input = layouts.last.outputs.log_sum_exp = true;
  layouts.last.outputs.top_k = 2;
  layouts.last.criterion.reduction = Reduction::kNone;
  layouts.last.criterion.cross_entropy().label_smoothing = std::abs(smoothing);
  layouts.last.target = MakeTensor(DType::kInt32, {samples, inner}, labels);
  layouts.middle = layouts.last;
  if (smoothing < 0) MakeProbabilities(dtype, samples, classes, inner, random, &layouts);
  layouts.last.input = MakeTensor(dtype, {samples, inner, classes}, last);
  layouts.last.criterion.cross_entropy().class_axis = -1;
  layouts.middle.input = MakeTensor(dtype, {samples, classes, inner}, middle);
  return layouts;
}

TEST(Properties, ClassAxisDoesNotMatter) {
  std::mt19937_64 random(10);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    for (const int64_t classes : {1, 2, 3, 19, 64, 65, 130, 1024}) {
      for (const double smoothing : {0.0, 0.1, -0.1}) {
        constexpr int64_t kSamples = 3;
        // Neither count of positions is a multiple of 16, the positions in one group of lanes.
        const int64_t inner = classes % 2 == 0 ? 69 : 6;
        const TwoLayouts layouts = MakeLayouts(dtype, kSamples, classes, inner, smoothing, &random);
        const auto left = RunBatch(layouts.middle);
        const auto right = RunBatch(layouts.last);
        ASSERT_EQ(left->loss, right->loss);
        ASSERT_EQ(left->log_sum_exp, right->log_sum_exp);
        ASSERT_EQ(left->summary.correct, right->summary.correct);
        ASSERT_EQ(left->summary.correct_top_k, right->summary.correct_top_k);
        const size_t size = SizeOf(dtype);
        for (int64_t n = 0; n < kSamples; ++n) {
          for (int64_t i = 0; i < inner; ++i) {
            for (int64_t c = 0; c < classes; ++c) {
              const auto a = static_cast<size_t>((n * classes + c) * inner + i) * size;
              const auto b = static_cast<size_t>((n * inner + i) * classes + c) * size;
              ASSERT_EQ(std::memcmp(&left->grad_input[a], &right->grad_input[b], size), 0)
                  << Name(dtype) << " C = " << classes << " at " << n << ", " << c << ", " << i;
              if (smoothing >= 0) continue;
              ASSERT_EQ(std::memcmp(&left->grad_target[a], &right->grad_target[b], size), 0);
            }
          }
        }
      }
    }
  }
}

// Neighbours in the batch do not matter, even invalid ones: each row alone gives its part of the
// whole result.
TEST(Properties, EachRowAloneGivesTheSameBits) {
  std::mt19937_64 random(14);
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat64}) {
    for (const int64_t classes : {1, 2, 10, 64, 65, 1000}) {
      const OwnedProblem whole = MakeLayouts(dtype, 1, classes, 53, 0.0, &random).last;
      const auto all = RunBatch(whole);
      const size_t row_bytes = static_cast<size_t>(classes) * SizeOf(dtype);
      const size_t loss_bytes = dtype == DType::kFloat64 ? 8 : 4;
      for (size_t row = 0; row < 53; ++row) {
        OwnedProblem one = whole;
        one.input.spec.shape = {1, 1, classes};
        one.input.bytes.assign(&whole.input.bytes[row * row_bytes],
                               &whole.input.bytes[row * row_bytes] + row_bytes);
        one.target.spec.shape = {1, 1};
        one.target.bytes.assign(&whole.target.bytes[row * 4], &whole.target.bytes[row * 4] + 4);
        const auto alone = RunBatch(one);
        ASSERT_EQ(
            std::memcmp(alone->grad_input.data(), &all->grad_input[row * row_bytes], row_bytes), 0)
            << Name(dtype) << " C = " << classes << " row " << row;
        ASSERT_EQ(std::memcmp(alone->loss.data(), &all->loss[row * loss_bytes], loss_bytes), 0);
      }
    }
  }
}

// Large gradients are streamed past the caches, those of long rows beside the rows after them.
TEST(Properties, AGreatGradientIsThatOfItsParts) {
  std::mt19937_64 random(16);
  constexpr int64_t kRows = 6300;
  for (const int64_t classes : {700, 1400}) {
    const int64_t rows = kRows * 700 / classes;
    const OwnedProblem whole = MakeLayouts(DType::kFloat32, 1, classes, rows, 0.0, &random).last;
    const size_t bytes = whole.input.bytes.size();
    ASSERT_GT(bytes, size_t{16} << 20U);
    const auto all = RunBatch(whole);
    constexpr size_t kParts = 2;
    for (size_t part = 0; part < kParts; ++part) {
      const auto piece = [part](const Bytes& of) {
        const auto begin = of.begin() + static_cast<ptrdiff_t>(part * of.size() / kParts);
        return Bytes(begin, begin + static_cast<ptrdiff_t>(of.size() / kParts));
      };
      OwnedProblem some = whole;
      some.input.spec.shape = {1, rows / 2, classes};
      some.input.bytes = piece(whole.input.bytes);
      some.target.spec.shape = {1, rows / 2};
      some.target.bytes = piece(whole.target.bytes);
      const auto alone = RunBatch(some);
      EXPECT_TRUE(alone->grad_input == piece(all->grad_input)) << "C = " << classes;
      EXPECT_TRUE(alone->loss == piece(all->loss)) << "C = " << classes;
    }
  }
}

// The gradient may overwrite the logits.
TEST(Properties, InPlaceGradientsAreTheSame) {
  std::mt19937_64 random(15);
  for (const int64_t classes : {2, 10, 64, 65, 1000}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
      const TwoLayouts layouts = MakeLayouts(dtype, 2, classes, 35, 0.0, &random);
      for (OwnedProblem problem : {layouts.last, layouts.middle}) {
        problem.outputs.log_sum_exp = false;
        const auto expected = RunBatch(problem);
        Bytes loss(expected->loss.size());
        std::byte* memory = problem.input.bytes.data();
        auto batch = BatchEvaluation::Create(problem.plan(), problem.operands(),
                                             {loss.data(), nullptr, memory});
        ASSERT_TRUE(batch.ok());
        Scratch scratch;
        for (int64_t i = 0; i < (*batch)->tasks(); ++i) (*batch)->RunTask(i, &scratch);
        EXPECT_EQ(problem.input.bytes, expected->grad_input) << classes;
        EXPECT_EQ(loss, expected->loss);
      }
    }
  }
}

TEST(Properties, ShardsCombineToTheWhole) {
  std::mt19937_64 random(12);
  constexpr int64_t kRows = 50;
  std::normal_distribution<double> normal(0, 4);
  std::vector<double> x(kRows * 7);
  std::vector<double> labels(kRows);
  for (double& value : x) value = normal(random);
  for (double& label : labels) label = random() % 9 == 0 ? -100 : static_cast<double>(random() % 7);
  OwnedProblem whole = MakeIndex(DType::kFloat32, {kRows, 7}, x, labels);
  whole.weight = MakeTensor(DType::kFloat32, {7}, {1, 2, 0.3, 4, 0.7, 1, 9});
  const auto all = RunBatch(whole);
  const double divisor = ToDouble(all->summary.normalizer);
  std::vector<Summary> summaries;
  Bytes gradient;
  for (int64_t begin = 0; begin < kRows; begin += 13) {
    const int64_t end = std::min(kRows, begin + 13);
    OwnedProblem shard =
        MakeIndex(DType::kFloat32, {end - begin, 7}, {x.begin() + begin * 7, x.begin() + end * 7},
                  {labels.begin() + begin, labels.begin() + end});
    shard.weight = whole.weight;
    summaries.push_back(RunBatch(shard)->summary);
    shard.criterion.normalizer = divisor;
    const auto results = RunBatch(shard);
    gradient.insert(gradient.end(), results->grad_input.begin(), results->grad_input.end());
  }
  EXPECT_EQ(gradient, all->grad_input) << "a global normalizer gives globally right gradients";
  std::shuffle(summaries.begin(), summaries.end(), random);
  const auto combined = Combine(summaries);
  ASSERT_TRUE(combined.ok()) << combined.status();
  EXPECT_EQ(ReducedLoss(*combined), ReducedLoss(all->summary));
  EXPECT_EQ(ToValue(combined->loss_sum), ToValue(all->summary.loss_sum));
  EXPECT_EQ(combined->positions, all->summary.positions);
  EXPECT_EQ(combined->correct, all->summary.correct);
}

TEST(Properties, CombineRefusesWhatDiffers) {
  const OwnedProblem base = MakeIndex(DType::kFloat32, {1, 2}, {1, 2}, {0});
  const Summary good = RunBatch(base)->summary;
  const auto refuse = [&good](const Summary& other, const std::string& what) {
    const auto result = Combine({good, other});
    ASSERT_FALSE(result.ok()) << what;
    EXPECT_EQ(GetErrorDetail(result.status()).reason, "SUMMARY_MISMATCH") << what;
    EXPECT_EQ(GetErrorDetail(result.status()).field, "summaries[1]") << what;
  };
  Summary other = good;
  other.criterion.cross_entropy().label_smoothing = 0.5;
  refuse(other, "options");
  other = good;
  other.criterion.normalizer = 3;
  refuse(other, "normalizer");
  other = good;
  other.input_dtype = DType::kFloat16;
  refuse(other, "dtype");
  other = good;
  other.classes = 3;
  refuse(other, "classes");
  other = good;
  other.weight_digest = 1;
  refuse(other, "weights");
  other = good;
  other.target_kind = TargetKind::kProbabilities;
  refuse(other, "kind");
  EXPECT_FALSE(Combine({}).ok());
}

TEST(Properties, MeanIsRoundedOnceToFloat32) {
  // Compare with division in long double, for random numerators and divisors.
  std::mt19937_64 random(13);
  std::uniform_real_distribution<double> uniform(1, 2);
  for (int i = 0; i < 100000; ++i) {
    const double a = std::ldexp(uniform(random), static_cast<int>(random() % 60) - 30);
    const double b = std::ldexp(uniform(random), static_cast<int>(random() % 60) - 30);
    const auto exact =
        static_cast<float>(static_cast<long double>(a) / static_cast<long double>(b));
    EXPECT_EQ(DivideRounded(DType::kFloat32, a, b), static_cast<double>(exact)) << a << " " << b;
  }
  // Quotients so near to a tie of float32 that float64 division gives the tie itself. The remainder
  // tells on which side of the tie they are.
  const double tie = 1.0 + 0x1p-24;
  int above = 0;
  for (int i = 0; i < 1000; ++i) {
    const double divisor = uniform(random);
    const double numerator = tie * divisor;
    const double remainder = std::fma(-tie, divisor, numerator);
    if (numerator / divisor != tie || remainder == 0) continue;
    above += remainder > 0 ? 1 : 0;
    EXPECT_EQ(DivideRounded(DType::kFloat32, numerator, divisor),
              remainder > 0 ? 1.0 + 0x1p-23 : 1.0);
  }
  EXPECT_GT(above, 100);
}

}  // namespace
}  // namespace lossd::testing
