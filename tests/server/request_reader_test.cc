// Which requests are parsed, which are recognized, and that both are the same.
#include "server/request_reader.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "server/message_io.h"
#include "tests/support/problem.h"
#include "tests/support/wire.h"

namespace lossd::testing {
namespace {

/// The message in slices that end at every `piece` bytes.
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
  EXPECT_EQ(request.parsed.plan->options(), problem.options);
}

TEST(RequestReader, ParsesOnceAndThenRecognizes) {
  RequestForms forms;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const std::string message = MakeRequest(problem).SerializeAsString();
    const std::string many = ManyMessage(seed, MakeRequest(problem));
    ASSERT_TRUE(ReadRequest(InPieces(message, 1000), {}, &forms).ok());
    for (const size_t piece : {size_t{7}, message.size()}) {
      const auto request = ReadRequest(InPieces(message, piece), {}, &forms);
      ASSERT_TRUE(request.ok()) << request.status();
      EXPECT_TRUE(request->message == nullptr);
      ExpectRequest(problem, *request);
      const auto one = ReadManyRequest(InPieces(many, piece), {}, &forms);
      ASSERT_TRUE(one.ok() && one->request.ok());
      EXPECT_TRUE(one->request->message == nullptr);
      EXPECT_EQ(one->id, seed);
      ExpectRequest(problem, *one->request);
    }
  }
}

// A request that comes in two parts is the sum of them, and has no form.
TEST(RequestReader, PartsOfARequestAreMerged) {
  RequestForms forms;
  const OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  OwnedProblem sum = problem;
  sum.options.reduction = Reduction::kSum;
  v1::EvaluateRequest change;
  change.mutable_criterion()->set_reduction(v1::REDUCTION_SUM);
  const std::string whole = ManyMessage(3, MakeRequest(problem));
  for (int i = 0; i < 3; ++i) {
    const auto plain = ReadManyRequest(InPieces(whole, whole.size()), {}, &forms);
    ASSERT_TRUE(plain.ok() && plain->request.ok());
    EXPECT_EQ(plain->request->message == nullptr, i > 0);
    ExpectRequest(problem, *plain->request);
    const std::string message = whole + ManyMessage(4, change);
    const auto merged = ReadManyRequest(InPieces(message, message.size()), {}, &forms);
    ASSERT_TRUE(merged.ok() && merged->request.ok());
    EXPECT_TRUE(merged->request->message != nullptr);
    EXPECT_EQ(merged->id, 4U);
    ExpectRequest(sum, *merged->request);
  }
}

TEST(RequestReader, ErrorsAreNotKept) {
  RequestForms forms;
  OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  problem.options.label_smoothing = 2;
  const std::string bad = MakeRequest(problem).SerializeAsString();
  const std::string many = ManyMessage(3, MakeRequest(problem));
  for (int i = 0; i < 3; ++i) {
    const auto request = ReadRequest(InPieces(bad, bad.size()), {}, &forms);
    EXPECT_EQ(GetErrorDetail(request.status()).reason, "LABEL_SMOOTHING_RANGE");
    const auto one = ReadManyRequest(InPieces(many, many.size()), {}, &forms);
    ASSERT_TRUE(one.ok());
    EXPECT_EQ(GetErrorDetail(one->request.status()).field,
              "request.criterion.cross_entropy.label_smoothing");
    const std::string broken[] = {bad.substr(0, bad.size() - 1), std::string(3, '\xFF')};
    for (const std::string& message : broken) {
      EXPECT_EQ(GetErrorDetail(ReadRequest(InPieces(message, 100), {}, &forms).status()).reason,
                "MALFORMED_MESSAGE");
    }
    const auto none = ReadManyRequest(InPieces(many.substr(0, 40), 100), {}, &forms);
    EXPECT_EQ(GetErrorDetail(none.status()).reason, "MALFORMED_MESSAGE");
  }
}

}  // namespace
}  // namespace lossd::testing
