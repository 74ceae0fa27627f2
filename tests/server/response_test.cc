// How the C++ client reads responses of unary calls: with slices that end anywhere, and messages
// that are almost responses.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/cpp/lossd/client.h"
#include "client/cpp/request_plan.h"
#include "client/cpp/response_reader.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/wire_write.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

/// A problem and the server's response to it.
struct Answered {
  Answered(TestServer* server, OwnedProblem of) : problem(std::move(of)), plan(problem.plan()) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::EvaluateResponse response;
    EXPECT_TRUE(server->stub().Evaluate(&context, MakeRequest(problem), &response).ok());
    message = response.SerializeAsString();
    blank = Summarize(*plan, nullptr, RowTotals(plan->loss_dtype()));
    frame = FrameOf(*plan, FrameOf(blank));
    expected = *RunBatch(problem);
  }
  [[nodiscard]] LossResult Prepared() const {
    LossResult result;
    PrepareResult(RequestOf(problem), *plan, &result);
    return result;
  }

  OwnedProblem problem;
  std::shared_ptr<const Plan> plan;
  std::string message;
  Summary blank;
  ResponseFrame frame;
  Results expected;
};

/// The bytes in slices of random size, some of them empty.
std::vector<grpc::Slice> Cut(const std::string& bytes, std::mt19937_64* random) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size() || slices.empty();) {
    const size_t most = (*random)() % 2 == 0 ? 3 : bytes.size();
    const size_t count = std::min<size_t>((*random)() % (most + 1), bytes.size() - at);
    slices.emplace_back(bytes.data() + at, count);
    at += count;
  }
  slices.emplace_back();
  return slices;
}

TEST(Response, IsReadWhereverItsSlicesEnd) {
  TestServer server;
  std::mt19937_64 random(5);
  for (int i = 0; i < 60; ++i) {
    const Answered answered(&server, RandomProblem(&random));
    for (int cut = 0; cut < 8; ++cut) {
      const auto slices = Cut(answered.message, &random);
      LossResult result = answered.Prepared();
      // The summary is read by its frame and by Protobuf in turn.
      const Summary* const blank = cut % 2 == 0 ? &answered.blank : nullptr;
      ASSERT_TRUE(ReadPlainResponse(slices, answered.frame, blank, &result));
      EXPECT_EQ(Difference(ResultsOf(result), answered.expected), "");
    }
  }
}

// A response that is read without Protobuf is the one that Protobuf reads. A response that is too
// short or too long is refused.
TEST(Response, NearlyOneIsNotReadAsOne) {
  TestServer server;
  std::mt19937_64 random(6);
  for (int i = 0; i < 10; ++i) {
    const Answered answered(&server, RandomProblem(&random));
    const auto read = [&](const std::string& message, LossResult* result) {
      *result = answered.Prepared();
      return ReadPlainResponse(Cut(message, &random), answered.frame, &answered.blank, result);
    };
    const std::string& good = answered.message;
    int values = 0;
    for (size_t at = 0; at < good.size(); ++at) {
      LossResult plain;
      EXPECT_FALSE(read(good.substr(0, at), &plain)) << at;
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
      if (!read(bad, &plain)) continue;
      ++values;
      LossResult any = answered.Prepared();
      const grpc::Slice slice(bad);
      // No response has this frame, so Protobuf reads it.
      ASSERT_TRUE(
          ReadResponse(grpc::ByteBuffer(&slice, 1), {"x", "", "", {}, "", ""}, nullptr, &any).ok());
      EXPECT_EQ(Difference(ResultsOf(plain), ResultsOf(any)), "") << at;
    }
    EXPECT_GT(values, 0);
    LossResult plain;
    EXPECT_FALSE(read(good + '\0', &plain));
  }
}

}  // namespace
}  // namespace lossd::testing
