// The state machine of a stream: the same bits as a unary call for every cut, replies before the
// rest has come, precise errors, and memory given back.
#include "server/engine/stream_session.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "tests/support/problem.h"
#include "tests/support/session.h"
#include "tests/support/vectors.h"

namespace lossd::testing {
namespace {

/// Small units, so that small tensors have many of them.
StreamLimits SmallLimits() {
  StreamLimits limits;
  limits.unit_bytes = 512;
  limits.window_bytes = 1024;
  limits.reply_bytes = 100;
  return limits;
}

TEST(StreamSession, EveryVectorInPiecesOfEverySize) {
  size_t cases = 0;
  for (const Vector& vector : AllVectors()) {
    const auto whole = RunBatch(vector.problem);
    for (const size_t chunk : {1U, 3U, 7U, 4096U}) {
      SessionDriver driver(vector.problem, SmallLimits());
      ASSERT_TRUE(driver.created().ok()) << vector.name;
      absl::Status status = driver.SendAll(chunk);
      ASSERT_TRUE(status.ok()) << vector.name << ": " << status;
      status = driver.Finish();
      ASSERT_TRUE(status.ok()) << vector.name << ": " << status;
      EXPECT_EQ(Difference(driver.results(), *whole), "") << vector.name << " by " << chunk;
      EXPECT_EQ(Check(vector, driver.results()), "") << vector.name;
    }
    ++cases;
  }
  EXPECT_GE(cases, 600U);
}

TEST(StreamSession, RandomProblemsByUnitsOfManySizes) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const auto whole = RunBatch(problem);
    StreamLimits limits;
    limits.unit_bytes = 1 + static_cast<int64_t>(random() % 2000);
    limits.window_bytes = 1 + static_cast<int64_t>(random() % 4000);
    limits.reply_bytes = 1 + random() % 300;
    SessionDriver driver(problem, limits, 3);
    const absl::Status sent = driver.SendAll(1 + random() % 700);
    ASSERT_TRUE(sent.ok()) << "seed " << seed << ": " << sent;
    ASSERT_TRUE(driver.Finish().ok()) << "seed " << seed;
    EXPECT_EQ(Difference(driver.results(), *whole), "") << "seed " << seed;
  }
}

OwnedProblem Rows(int64_t rows, int64_t classes, Reduction reduction) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal(0, 3);
  std::vector<double> x(static_cast<size_t>(rows * classes));
  std::vector<double> labels(static_cast<size_t>(rows));
  for (double& value : x) value = normal(random);
  for (double& label : labels)
    label = static_cast<double>(random() % static_cast<uint64_t>(classes));
  OwnedProblem problem;
  problem.criterion.reduction = reduction;
  problem.outputs.grad_input = true;
  problem.input = MakeTensor(DType::kFloat32, {rows, classes}, x);
  problem.target = MakeTensor(DType::kInt64, {rows}, labels);
  return problem;
}

TEST(StreamSession, GradientsComeBeforeTheRestOfTheRows) {
  for (const Reduction reduction : {Reduction::kMean, Reduction::kSum, Reduction::kNone}) {
    const OwnedProblem problem = Rows(100, 10, reduction);
    SessionDriver driver(problem);
    const size_t half = problem.input.bytes.size() / 2;
    ASSERT_TRUE(driver.Send(Operand::kTarget, 0, problem.target.bytes.size()).ok());
    ASSERT_TRUE(driver.Send(Operand::kInput, 0, half).ok());
    EXPECT_TRUE(driver.WaitUntil([&] { return driver.results().grad_input.size() == half; }))
        << "got " << driver.results().grad_input.size() << " of " << half << " bytes";
    ASSERT_TRUE(driver.Send(Operand::kInput, half, 2 * half).ok());
    ASSERT_TRUE(driver.Finish().ok());
    EXPECT_EQ(Difference(driver.results(), *RunBatch(problem)), "");
  }
}

TEST(StreamSession, LabelsMayComeJustBeforeTheirRowsWithoutMeanGradient) {
  const OwnedProblem problem = Rows(20, 4, Reduction::kSum);
  SessionDriver driver(problem);
  for (size_t row = 0; row < 20; ++row) {
    ASSERT_TRUE(driver.Send(Operand::kTarget, row * 8, row * 8 + 8).ok());
    ASSERT_TRUE(driver.Send(Operand::kInput, row * 16, row * 16 + 16).ok());
  }
  ASSERT_TRUE(driver.Finish().ok());
  EXPECT_EQ(Difference(driver.results(), *RunBatch(problem)), "");
}

TEST(StreamSession, RefusesInputBeforeItsLabels) {
  const OwnedProblem sum = Rows(20, 4, Reduction::kSum);
  SessionDriver early(sum);
  ASSERT_TRUE(early.Send(Operand::kTarget, 0, 8).ok());
  ExpectError(early.Send(Operand::kInput, 0, 17), absl::StatusCode::kInvalidArgument, "input",
              "TARGET_AFTER_INPUT");
  // Mean with a gradient needs all labels first.
  const OwnedProblem mean = Rows(20, 4, Reduction::kMean);
  SessionDriver partial(mean);
  ASSERT_TRUE(partial.Send(Operand::kTarget, 0, 8 * 19).ok());
  ExpectError(partial.Send(Operand::kInput, 0, 1), absl::StatusCode::kInvalidArgument, "input",
              "TARGET_AFTER_INPUT");
}

TEST(StreamSession, RefusesBytesPastTheEndAndAnEarlyEnd) {
  OwnedProblem problem = Rows(4, 4, Reduction::kSum);
  problem.grad_output = MakeTensor(DType::kFloat32, {}, {2});
  for (const auto& [operand, field] :
       {std::pair{Operand::kTarget, "target"}, std::pair{Operand::kGradOutput, "grad_output"},
        std::pair{Operand::kInput, "input"}}) {
    SessionDriver driver(problem);
    ASSERT_TRUE(driver.SendAll(64).ok());
    const Bytes extra(1);
    ExpectError(driver.session().Append(operand, extra), absl::StatusCode::kInvalidArgument, field,
                "LENGTH_EXCEEDED");
  }
  SessionDriver nothing(problem);
  ExpectError(nothing.session().Close(), absl::StatusCode::kInvalidArgument, "target",
              "LENGTH_MISMATCH");
  SessionDriver no_input(problem);
  ASSERT_TRUE(no_input.Send(Operand::kTarget, 0, 32).ok());
  ASSERT_TRUE(no_input.Send(Operand::kGradOutput, 0, 4).ok());
  ASSERT_TRUE(no_input.Send(Operand::kInput, 0, 63).ok());
  ExpectError(no_input.session().Close(), absl::StatusCode::kInvalidArgument, "input",
              "LENGTH_MISMATCH");
}

TEST(StreamSession, RefusesABadLabel) {
  OwnedProblem problem = Rows(4, 4, Reduction::kSum);
  problem.target = MakeTensor(DType::kInt64, {4}, {0, 1, 4, 0});
  SessionDriver driver(problem);
  ExpectError(driver.Send(Operand::kTarget, 0, 32), absl::StatusCode::kInvalidArgument, "target[2]",
              "LABEL_OUT_OF_RANGE");
}

TEST(StreamSession, BoundsTheSkewOfCompanions) {
  OwnedProblem problem = Rows(100, 4, Reduction::kNone);
  problem.target = MakeTensor(DType::kFloat32, {100, 4}, std::vector<double>(400, 0.25));
  problem.grad_output = MakeTensor(DType::kFloat32, {100}, std::vector<double>(100, 1.0));
  StreamLimits limits = SmallLimits();
  limits.max_skew_bytes = 160;
  SessionDriver ahead(problem, limits);
  ASSERT_TRUE(ahead.Send(Operand::kTarget, 0, 160).ok());
  ExpectError(ahead.Send(Operand::kTarget, 160, 192), absl::StatusCode::kFailedPrecondition,
              "target", "STREAM_SKEW");
  SessionDriver behind(problem, limits);
  ASSERT_TRUE(behind.Send(Operand::kInput, 0, 160).ok());
  ExpectError(behind.Send(Operand::kInput, 160, 192), absl::StatusCode::kFailedPrecondition,
              "target", "STREAM_SKEW");
  SessionDriver gradient(problem, limits);
  ExpectError(gradient.Send(Operand::kGradOutput, 0, 164), absl::StatusCode::kFailedPrecondition,
              "grad_output", "STREAM_SKEW");
  // A scalar grad_output that never comes.
  OwnedProblem scalar = Rows(100, 4, Reduction::kSum);
  scalar.grad_output = MakeTensor(DType::kFloat32, {}, {2});
  SessionDriver missing(scalar, limits);
  ASSERT_TRUE(missing.Send(Operand::kTarget, 0, 800).ok());
  ExpectError(missing.Send(Operand::kInput, 0, 164), absl::StatusCode::kFailedPrecondition,
              "grad_output", "STREAM_SKEW");
}

TEST(StreamSession, AReaderThatDoesNotReadStopsItsOwnStreamOnly) {
  const OwnedProblem problem = Rows(1000, 16, Reduction::kSum);
  SessionDriver driver(problem, SmallLimits());
  StreamSession& session = driver.session();
  ASSERT_TRUE(session.Append(Operand::kTarget, problem.target.bytes).ok());
  size_t sent = 0;
  for (int idle = 0; idle < 200 && sent < problem.input.bytes.size();) {
    if (!session.WantsOperands()) {
      ++idle;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    ASSERT_TRUE(session.Append(Operand::kInput, {problem.input.bytes.data() + sent, 64}).ok());
    ASSERT_TRUE(session.EndMessage().ok());
    sent += 64;
  }
  EXPECT_LE(sent, 4096U) << "the window is " << SmallLimits().window_bytes << " bytes";
  for (; sent < problem.input.bytes.size(); sent += 64) {
    ASSERT_TRUE(driver.Send(Operand::kInput, sent, sent + 64).ok());
  }
  ASSERT_TRUE(driver.Finish().ok());
  EXPECT_EQ(Difference(driver.results(), *RunBatch(problem)), "");
}

TEST(StreamSession, LimitsAreCheckedBeforeAnyByte) {
  OwnedProblem problem = Rows(4, 4, Reduction::kSum);
  problem.input.spec.shape = {1 << 20, 4};
  problem.target.spec.shape = {1 << 20};
  StreamLimits limits;
  limits.max_label_bytes = 1 << 19;
  SessionDriver labels(problem, limits);
  ExpectError(labels.created(), absl::StatusCode::kResourceExhausted, "header.target.shape",
              "LIMIT_EXCEEDED");
  // A single sample above the memory budget.
  problem.input.spec.shape = {1, 2, int64_t{1} << 32U};
  problem.target.spec.shape = {1, int64_t{1} << 32U};
  limits.max_label_bytes = uint64_t{1} << 40U;
  SessionDriver sample(problem, limits);
  ExpectError(sample.created(), absl::StatusCode::kResourceExhausted, "", "MEMORY_LIMIT");
}

TEST(StreamSession, CancelAtAnyPointGivesMemoryBack) {
  const OwnedProblem problem = Rows(2000, 64, Reduction::kSum);
  for (size_t stop = 0; stop < 20; ++stop) {
    WorkerPool pool(2);
    MemoryBudget budget(uint64_t{1} << 30U);
    auto session = StreamSession::Create(problem.plan(), {}, &pool, &budget, [] {});
    ASSERT_TRUE(session.ok());
    EXPECT_GT(budget.used(), 0U);
    const size_t bytes = problem.input.bytes.size() * stop / 19;
    ASSERT_TRUE((*session)->Append(Operand::kTarget, problem.target.bytes).ok());
    ASSERT_TRUE((*session)->Append(Operand::kInput, {problem.input.bytes.data(), bytes}).ok());
    ASSERT_TRUE((*session)->EndMessage().ok());
    (*session)->Cancel();
    EXPECT_FALSE((*session)->TakeReply().has_value());
    session->reset();
    for (int i = 0; i < 1000 && budget.used() > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(budget.used(), 0U);
  }
}

}  // namespace
}  // namespace lossd::testing
