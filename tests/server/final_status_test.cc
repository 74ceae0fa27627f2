// The trailing metadata that tell gRPC's own clients whether to retry.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "core/problem/error.h"
#include "proto/codec/status_bridge.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

constexpr int64_t kClasses = 100;

OwnedProblem Rows(int64_t rows) {
  return MakeIndex(DType::kFloat32, {rows, kClasses},
                   std::vector<double>(static_cast<size_t>(rows * kClasses), 1.0),
                   std::vector<double>(static_cast<size_t>(rows), 0.0));
}

/// The end of a call, with the metadata for clients that do not read google.rpc's details.
struct Ended {
  std::string reason;
  std::string pushback;  ///< "absent" if there is none.
};

Ended EndOf(const grpc::ClientContext& context, const grpc::Status& status) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto found = trailers.find("grpc-retry-pushback-ms");
  return {
      GetErrorDetail(FromGrpc(status)).reason,
      found == trailers.end() ? "absent" : std::string(found->second.data(), found->second.size())};
}

Ended EndOfUnary(v1::LossService::Stub* stub, const OwnedProblem& problem) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::EvaluateResponse response;
  const grpc::Status status = stub->Evaluate(&context, MakeRequest(problem), &response);
  return EndOf(context, status);
}

Ended EndOfStream(v1::LossService::Stub* stub, const OwnedProblem& problem) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = stub->EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(problem);
  stream->Write(message);
  stream->WritesDone();
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
  }
  const grpc::Status status = stream->Finish();
  return EndOf(context, status);
}

void ExpectEnd(const Ended& end, const std::string& reason, const std::string& pushback) {
  EXPECT_EQ(end.reason, reason);
  EXPECT_EQ(end.pushback, pushback) << reason;
}

TEST(FinalStatus, WaitingNeverHelpsACallAboveALimit) {
  ServerOptions options;
  options.max_memory_bytes = uint64_t{1} << 20U;
  options.stream_limits.max_label_bytes = 10'000;
  TestServer server(options);
  ExpectEnd(EndOfUnary(&server.stub(), Rows(2000)), "MEMORY_LIMIT", "-1");
  ExpectEnd(EndOfStream(&server.stub(), Rows(2000)), "MEMORY_LIMIT", "-1");
  ExpectEnd(EndOfStream(&server.stub(), Rows(10'001)), "LIMIT_EXCEEDED", "-1");
}

TEST(FinalStatus, WaitingHelpsWhereOthersHoldTheMemory) {
  ServerOptions options;
  options.max_memory_bytes = uint64_t{3} << 20U;
  TestServer server(options);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto holder = server.stub().EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(Rows(2500));  // 2 MB with its gradient.
  ASSERT_TRUE(holder->Write(message));
  for (int i = 0; i < 5000 && server.server().memory_used() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ExpectEnd(EndOfUnary(&server.stub(), Rows(2000)), "MEMORY_BUSY", "250");
  ExpectEnd(EndOfUnary(&server.stub(), Rows(3000)), "MEMORY_BUSY", "250");
  ExpectEnd(EndOfStream(&server.stub(), Rows(2500)), "MEMORY_BUSY", "250");
  context.TryCancel();
  holder->Finish();
}

TEST(FinalStatus, OfABadRequestNothingIsSaid) {
  TestServer server;
  OwnedProblem problem = Rows(3);
  problem.criterion.cross_entropy().label_smoothing = 2;
  ExpectEnd(EndOfUnary(&server.stub(), problem), "LABEL_SMOOTHING_RANGE", "absent");
  ExpectEnd(EndOfStream(&server.stub(), problem), "LABEL_SMOOTHING_RANGE", "absent");
}

}  // namespace
}  // namespace lossd::testing
