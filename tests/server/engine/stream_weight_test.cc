// A class weight that comes as bytes of the stream: the same bits as a weight in the header, and
// errors if it is late, short, long or not announced.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <utility>

#include "core/problem/error.h"
#include "server/engine/stream_session.h"
#include "tests/support/problem.h"
#include "tests/support/session.h"
#include "tests/support/vectors.h"

namespace lossd::testing {
namespace {

/// Three classes with weights, two positions with labels and an incoming gradient.
OwnedProblem Weighted() {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  problem.criterion.reduction = Reduction::kNone;
  problem.weight = MakeTensor(DType::kFloat32, {3}, {0.5, 2, 1});
  problem.grad_output = MakeTensor(DType::kFloat32, {2}, {1, 2});
  return problem;
}

void ExpectError(const absl::Status& status, const std::string& field, const std::string& reason) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(GetErrorDetail(status).field, field) << status;
  EXPECT_EQ(GetErrorDetail(status).reason, reason) << status;
}

TEST(StreamWeight, EveryVectorInPiecesOfEverySize) {
  size_t cases = 0;
  for (const Vector& vector : AllVectors()) {
    if (!vector.problem.weight) continue;
    const auto whole = RunBatch(vector.problem);
    for (const size_t chunk : {1U, 3U, 7U, 4096U}) {
      SessionDriver driver(vector.problem, {}, 2, /*weight_follows=*/true);
      ASSERT_TRUE(driver.created().ok()) << vector.name;
      absl::Status status = driver.SendAll(chunk);
      ASSERT_TRUE(status.ok()) << vector.name << ": " << status;
      status = driver.Finish();
      ASSERT_TRUE(status.ok()) << vector.name << ": " << status;
      EXPECT_EQ(Difference(driver.results(), *whole), "") << vector.name << " by " << chunk;
    }
    ++cases;
  }
  EXPECT_GE(cases, 100U);
}

TEST(StreamWeight, RandomProblems) {
  size_t cases = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    if (!problem.weight) continue;
    SessionDriver driver(problem, {}, 2, /*weight_follows=*/true);
    const absl::Status sent = driver.SendAll(1 + random() % 700);
    ASSERT_TRUE(sent.ok()) << "seed " << seed << ": " << sent;
    ASSERT_TRUE(driver.Finish().ok()) << "seed " << seed;
    EXPECT_EQ(Difference(driver.results(), *RunBatch(problem)), "") << "seed " << seed;
    ++cases;
  }
  EXPECT_GE(cases, 50U);
}

TEST(StreamWeight, ComesBeforeAllElse) {
  const OwnedProblem problem = Weighted();
  for (const auto& [operand, field] :
       {std::pair{Operand::kTarget, "target"}, std::pair{Operand::kGradOutput, "grad_output"},
        std::pair{Operand::kInput, "input"}}) {
    for (const size_t weight : {size_t{0}, size_t{11}}) {
      SessionDriver driver(problem, {}, 2, /*weight_follows=*/true);
      ASSERT_TRUE(driver.Send(Operand::kWeight, 0, weight).ok());
      ExpectError(driver.Send(operand, 0, 1), field, "WEIGHT_AFTER_DATA");
    }
  }
}

TEST(StreamWeight, IsAsLongAsTheHeaderSays) {
  const OwnedProblem problem = Weighted();
  SessionDriver longer(problem, {}, 2, /*weight_follows=*/true);
  ASSERT_TRUE(longer.Send(Operand::kWeight, 0, 12).ok());
  const Bytes extra(1);
  ExpectError(longer.session().Append(Operand::kWeight, extra), "weight", "LENGTH_EXCEEDED");
  for (const size_t weight : {size_t{0}, size_t{11}}) {
    SessionDriver shorter(problem, {}, 2, /*weight_follows=*/true);
    ASSERT_TRUE(shorter.Send(Operand::kWeight, 0, weight).ok());
    ExpectError(shorter.session().Close(), "weight", "LENGTH_MISMATCH");
  }
  // A weight that is already in the header, and one that no header announces.
  SessionDriver twice(problem);
  ExpectError(twice.session().Append(Operand::kWeight, extra), "weight", "LENGTH_EXCEEDED");
  OwnedProblem none = problem;
  none.weight.reset();
  SessionDriver unannounced(none);
  ExpectError(unannounced.session().Append(Operand::kWeight, extra), "weight", "LENGTH_EXCEEDED");
}

TEST(StreamWeight, IsReservedBeforeItsFirstByte) {
  constexpr int64_t kClasses = 100'000;
  OwnedProblem problem;
  problem.input.spec = {DType::kFloat16, {0, kClasses}};
  problem.target.spec = {DType::kInt64, {0}};
  SessionDriver without(problem);
  problem.weight = OwnedTensor{{DType::kFloat16, {kClasses}}, {}};
  SessionDriver with(problem, {}, 2, /*weight_follows=*/true);
  // For each class, a double and a count of labels.
  EXPECT_GE(with.budget().used(), without.budget().used() + kClasses * 16);
}

}  // namespace
}  // namespace lossd::testing
