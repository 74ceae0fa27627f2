// The messages that the C++ client makes of a request for a stream: their size, and the order of
// the tensors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/request_plan.h"
#include "client/cpp/stream_messages.h"
#include "lossd/v1/service.pb.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

/// All encoded messages of a request.
std::vector<std::string> MessagesOf(const LossRequest& request, size_t message_bytes) {
  const auto plan = MakePlan(request, WeightFollows(request, message_bytes)).value();
  StreamMessages messages(request, *plan, message_bytes);
  std::vector<std::string> encoded;
  for (auto slices = messages.Next(); !slices.empty(); slices = messages.Next()) {
    std::string& message = encoded.emplace_back();
    for (const grpc::Slice& slice : slices) {
      message.append(reinterpret_cast<const char*>(slice.begin()), slice.size());  // NOLINT
    }
  }
  uint64_t whole = request.input.bytes.size() + request.target.bytes.size();
  if (request.weight) whole += request.weight->bytes.size();
  if (request.grad_output) whole += request.grad_output->bytes.size();
  EXPECT_EQ(messages.sent(), whole);
  return encoded;
}

absl::string_view TextOf(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};  // NOLINT(*-cast)
}

/// Expects that no message is too large, and that the messages together carry every byte once, in
/// order.
void ExpectWhole(const LossRequest& request, size_t message_bytes) {
  std::string weight;
  std::string target;
  std::string grad_output;
  std::string input;
  bool first = true;
  for (const std::string& encoded : MessagesOf(request, message_bytes)) {
    v1::EvaluateStreamRequest message;
    ASSERT_TRUE(message.ParseFromString(encoded));
    EXPECT_EQ(message.has_header(), first);
    const size_t pieces = message.weight().size() + message.target().size() +
                          message.grad_output().size() + message.input().size();
    // A header may need a message of its own.
    if (pieces > 0) {
      EXPECT_LE(encoded.size(), message_bytes + kMessageFraming);
    }
    if (first) {
      const auto& stated = message.header().criterion().cross_entropy();
      if (stated.has_weight() && stated.weight().has_raw()) weight = stated.weight().raw();
    }
    first = false;
    weight += message.weight();
    target += message.target();
    grad_output += message.grad_output();
    input += message.input();
  }
  EXPECT_EQ(weight, request.weight ? TextOf(request.weight->bytes) : "");
  EXPECT_EQ(target, TextOf(request.target.bytes));
  EXPECT_EQ(grad_output, request.grad_output ? TextOf(request.grad_output->bytes) : "");
  EXPECT_EQ(input, TextOf(request.input.bytes));
}

TEST(ClientMessages, OfRandomProblemsAndAllSizes) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const LossRequest request = RequestOf(problem);
    for (const size_t size : {size_t{1}, size_t{7}, size_t{300}, size_t{4096}, size_t{1} << 20U}) {
      ExpectWhole(request, size);
      ASSERT_FALSE(HasFailure()) << "seed " << seed << ", messages of " << size;
    }
  }
}

// A half-precision input with a target and grad_output that are together three times its size.
OwnedProblem HeavyCompanions() {
  constexpr int64_t kRows = 30'000;
  OwnedProblem problem;
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs.grad_input = true;
  problem.input = MakeTensor(DType::kFloat16, {kRows, 2}, std::vector<double>(2 * kRows, 0.0));
  problem.target = MakeTensor(DType::kFloat32, {kRows, 2}, std::vector<double>(2 * kRows, 0.5));
  problem.grad_output = MakeTensor(DType::kFloat32, {kRows}, std::vector<double>(kRows, 1.0));
  return problem;
}

TEST(ClientMessages, CountAllThatTheyCarry) {
  const OwnedProblem problem = HeavyCompanions();
  const LossRequest request = RequestOf(problem);
  constexpr size_t kBytes = 50'000;
  ExpectWhole(request, kBytes);
  const size_t whole =
      problem.input.bytes.size() + problem.target.bytes.size() + problem.grad_output->bytes.size();
  const auto messages = MessagesOf(request, kBytes);
  EXPECT_LE(messages.size(), whole / kBytes + 2) << "each is as large as it may be";
  // In step: the target is never off by more than the bytes of one position.
  uint64_t input = 0;
  uint64_t target = 0;
  for (const std::string& encoded : messages) {
    v1::EvaluateStreamRequest message;
    ASSERT_TRUE(message.ParseFromString(encoded));
    input += message.input().size();
    target += message.target().size();
    EXPECT_NEAR(static_cast<double>(target), 2.0 * static_cast<double>(input), 8.0);
  }
}

TEST(ClientMessages, AHeaderLeavesLessRoom) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 15'000}, std::vector<double>(15'000), {7});
  problem.weight = MakeTensor(DType::kFloat32, {15'000}, std::vector<double>(15'000, 1.0));
  const LossRequest request = RequestOf(problem);
  // The header has 60,000 bytes of weight, and the second message has most of the input.
  constexpr size_t kBytes = 130'000;
  EXPECT_FALSE(WeightFollows(request, kBytes));
  ExpectWhole(request, kBytes);
  // A weight of more than half a message follows the header.
  EXPECT_TRUE(WeightFollows(request, 119'999));
  ExpectWhole(request, 119'999);
}

}  // namespace
}  // namespace lossd::testing
