// Parsed and recognized requests are the same; and the memory that their evaluation holds.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/problem/error.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"
#include "server/request_reader.h"
#include "tests/support/problem.h"
#include "tests/support/wire.h"

namespace lossd::testing {
namespace {

/// A reservation in a budget that is large enough for everything.
MemoryBudget::Reservation* Unbounded() {
  static MemoryBudget budget(uint64_t{1} << 40U);
  static MemoryBudget::Reservation held = budget.Reserve(0).value();
  return &held;
}

/// The message in slices of `piece` bytes.
grpc::ByteBuffer InPieces(const std::string& message, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < message.size(); at += piece) {
    slices.emplace_back(message.substr(at, piece));
  }
  return {slices.data(), slices.size()};
}

std::string ManyMessage(uint64_t id, const v1::EvaluateRequest& request) {
  v1::EvaluateManyRequest many;
  many.set_id(id);
  *many.mutable_request() = request;
  return many.SerializeAsString();
}

Bytes Copy(absl::Span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

void ExpectRequest(const OwnedProblem& problem, const IncomingRequest& request) {
  const Operands expected = problem.operands();
  const Operands& got = request.parsed.operands;
  EXPECT_EQ(Copy(got.input), Copy(expected.input));
  EXPECT_EQ(Copy(got.target), Copy(expected.target));
  EXPECT_EQ(Copy(got.grad_output), Copy(expected.grad_output));
  EXPECT_EQ(request.parsed.plan->criterion(), problem.criterion);
}

TEST(RequestReader, ParsesOnceAndThenRecognizes) {
  RequestForms forms;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const std::string message = MakeRequest(problem).SerializeAsString();
    const std::string many = ManyMessage(seed, MakeRequest(problem));
    ASSERT_TRUE(ReadRequest(InPieces(message, 1000), {}, &forms, Unbounded()).ok());
    for (const size_t piece : {size_t{7}, message.size()}) {
      const auto request = ReadRequest(InPieces(message, piece), {}, &forms, Unbounded());
      ASSERT_TRUE(request.ok()) << request.status();
      EXPECT_TRUE(request->message == nullptr);
      ExpectRequest(problem, *request);
      const auto one = ReadManyRequest(InPieces(many, piece), {}, &forms, Unbounded());
      ASSERT_TRUE(one.ok() && one->request.ok());
      EXPECT_TRUE(one->request->message == nullptr);
      EXPECT_EQ(one->id, seed);
      ExpectRequest(problem, *one->request);
    }
  }
}

// A request in two parts is merged as in Protobuf, and has no form.
TEST(RequestReader, PartsOfARequestAreMerged) {
  RequestForms forms;
  const OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  OwnedProblem sum = problem;
  sum.criterion.reduction = Reduction::kSum;
  v1::EvaluateRequest change;
  change.mutable_criterion()->set_reduction(v1::REDUCTION_SUM);
  const std::string whole = ManyMessage(3, MakeRequest(problem));
  for (int i = 0; i < 3; ++i) {
    const auto plain = ReadManyRequest(InPieces(whole, whole.size()), {}, &forms, Unbounded());
    ASSERT_TRUE(plain.ok() && plain->request.ok());
    EXPECT_EQ(plain->request->message == nullptr, i > 0);
    ExpectRequest(problem, *plain->request);
    const std::string message = whole + ManyMessage(4, change);
    const auto merged = ReadManyRequest(InPieces(message, message.size()), {}, &forms, Unbounded());
    ASSERT_TRUE(merged.ok() && merged->request.ok());
    EXPECT_TRUE(merged->request->message != nullptr);
    EXPECT_EQ(merged->id, 4U);
    ExpectRequest(sum, *merged->request);
  }
}

TEST(RequestReader, ErrorsAreNotKept) {
  RequestForms forms;
  OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  problem.criterion.cross_entropy().label_smoothing = 2;
  const std::string bad = MakeRequest(problem).SerializeAsString();
  const std::string many = ManyMessage(3, MakeRequest(problem));
  for (int i = 0; i < 3; ++i) {
    const auto request = ReadRequest(InPieces(bad, bad.size()), {}, &forms, Unbounded());
    EXPECT_EQ(GetErrorDetail(request.status()).reason, "LABEL_SMOOTHING_RANGE");
    const auto one = ReadManyRequest(InPieces(many, many.size()), {}, &forms, Unbounded());
    ASSERT_TRUE(one.ok());
    EXPECT_EQ(GetErrorDetail(one->request.status()).field,
              "request.criterion.cross_entropy.label_smoothing");
    const std::string broken[] = {bad.substr(0, bad.size() - 1), std::string(3, '\xFF')};
    for (const std::string& message : broken) {
      EXPECT_EQ(
          GetErrorDetail(ReadRequest(InPieces(message, 100), {}, &forms, Unbounded()).status())
              .reason,
          "MALFORMED_MESSAGE");
    }
    const auto none = ReadManyRequest(InPieces(many.substr(0, 40), 100), {}, &forms, Unbounded());
    EXPECT_EQ(GetErrorDetail(none.status()).reason, "MALFORMED_MESSAGE");
  }
}

/// The bytes of the budget that are held when an evaluation gives its answer, and after that.
struct Held {
  absl::Status status;
  uint64_t at_answer = 0;
  uint64_t after = 0;
};

Held Evaluate(const OwnedProblem& problem, bool cancelled) {
  MemoryBudget budget(uint64_t{1} << 30U);
  RequestForms forms;
  std::promise<Held> promise;
  std::vector<grpc::Slice> response;
  {
    WorkerPool pool(2);
    EvaluationContext context;
    context.pool = &pool;
    context.budget = &budget;
    context.forms = &forms;
    const std::string message = MakeRequest(problem).SerializeAsString();
    auto request = ReadRequest(InPieces(message, message.size()), {}, &forms, Unbounded());
    EvaluateRequestAsync(context, *std::move(request), *budget.Reserve(message.size()),
                         std::make_shared<std::atomic<bool>>(cancelled),
                         [&](const absl::Status& status, std::vector<grpc::Slice> slices) {
                           response = std::move(slices);
                           promise.set_value({status, budget.used(), 0});
                         });
  }
  Held held = promise.get_future().get();
  response.clear();
  held.after = budget.used();
  return held;
}

OwnedProblem Zeros(int64_t positions, int64_t classes, bool gradient) {
  OwnedProblem problem;
  const auto rows = static_cast<size_t>(positions);
  problem.input = MakeTensor(DType::kFloat32, {positions, classes},
                             std::vector<double>(rows * static_cast<size_t>(classes)));
  problem.target = MakeTensor(DType::kInt64, {positions}, std::vector<double>(rows));
  problem.outputs.grad_input = gradient;
  return problem;
}

// When a client gets its answer, the memory of its request is free, except bytes still being sent.
TEST(RequestEvaluation, MemoryIsBackBeforeTheAnswer) {
  for (const int64_t positions : {8, 3000}) {
    for (const bool cancelled : {false, true}) {
      const Held held = Evaluate(Zeros(positions, 10, positions == 8), cancelled);
      EXPECT_EQ(held.status.code(),
                cancelled ? absl::StatusCode::kCancelled : absl::StatusCode::kOk);
      EXPECT_EQ(held.at_answer, 0U) << positions << " positions, cancelled " << cancelled;
    }
  }
  OwnedProblem bad = Zeros(8, 10, false);
  bad.target = MakeTensor(DType::kInt64, {8}, std::vector<double>(8, 10.0));
  const Held refused = Evaluate(bad, false);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.at_answer, 0U);
  // A lent gradient is held until it has been sent.
  const Held lent = Evaluate(Zeros(3000, 10, true), false);
  EXPECT_TRUE(lent.status.ok()) << lent.status;
  EXPECT_GE(lent.at_answer, 3000U * 10 * sizeof(float));
  EXPECT_LT(lent.at_answer, 2 * 3000U * 10 * sizeof(float));
  EXPECT_EQ(lent.after, 0U);
}

std::string Joined(const std::vector<grpc::Slice>& slices) {
  std::string all;
  for (const grpc::Slice& slice : slices) all.append(slice.begin(), slice.end());
  return all;
}

// The memory that a thread keeps for its next small request is not lent to an answer.
TEST(RequestEvaluation, SmallAnswersHoldWhatIsLentAndNoMore) {
  MemoryBudget budget(uint64_t{1} << 20U);
  RequestForms forms;
  EvaluationContext context;
  context.budget = &budget;
  context.forms = &forms;
  const auto evaluate = [&](const OwnedProblem& problem) {
    const std::string message = MakeRequest(problem).SerializeAsString();
    auto request = ReadRequest(InPieces(message, message.size()), {}, &forms, Unbounded());
    EXPECT_TRUE(IsSmall(*request));
    return EvaluateSmallRequest(context, *std::move(request), {});
  };
  for (const int64_t positions : {8, 600}) {  // Gradients of 320 and of 24,000 bytes.
    OwnedProblem other = Zeros(positions, 10, true);
    other.input.bytes[3] = std::byte{0x40};  // 2 in place of 0.
    auto first = evaluate(Zeros(positions, 10, true));
    ASSERT_TRUE(first.ok()) << first.status();
    const std::string answer = Joined(*first);
    const auto lent = static_cast<uint64_t>(positions) * 10 * sizeof(float);
    EXPECT_EQ(budget.used() >= lent, positions == 600);
    EXPECT_EQ(budget.used() == 0, positions == 8);
    auto second = evaluate(other);
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_TRUE(Joined(*second) != answer);
    EXPECT_TRUE(Joined(*first) == answer);
    first->clear();
    second->clear();
    EXPECT_EQ(budget.used(), 0U);
  }
  const auto all = budget.Reserve(budget.limit());
  EXPECT_EQ(evaluate(Zeros(8, 10, true)).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace lossd::testing
