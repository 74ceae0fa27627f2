// The C++ client retries calls that end UNAVAILABLE.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "lossd/v1/service.grpc.pb.h"
#include "server/server.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

/// Always UNAVAILABLE, except GetServerInfo from the third call on.
class Flaky final : public v1::LossService::Service {
 public:
  grpc::Status Evaluate(grpc::ServerContext* /*context*/, const v1::EvaluateRequest* /*request*/,
                        v1::EvaluateResponse* /*response*/) override {
    ++calls;
    return {grpc::UNAVAILABLE, "away"};
  }
  grpc::Status GetServerInfo(grpc::ServerContext* /*context*/,
                             const v1::GetServerInfoRequest* /*request*/,
                             v1::GetServerInfoResponse* response) override {
    if (++calls <= 2) return {grpc::UNAVAILABLE, "away"};
    response->set_version("3rd");
    return grpc::Status::OK;
  }
  grpc::Status EvaluateStream(
      grpc::ServerContext* /*context*/,
      grpc::ServerReaderWriter<v1::EvaluateStreamResponse, v1::EvaluateStreamRequest>* /*stream*/)
      override {
    ++calls;
    return {grpc::UNAVAILABLE, "away"};
  }
  std::atomic<int> calls = 0;
};

TEST(CppClientRetry, ReplaysAllButFunctions) {
  Flaky service;
  std::string address;
  const auto server = Serve(&service, &address);
  auto client = Client::Connect(address);
  const auto info = (*client)->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->version, "3rd");
  EXPECT_EQ(service.calls, 3);

  // Four attempts at most.
  service.calls = 0;
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.transport = Transport::kUnary;
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(service.calls, 4);

  // Streams from memory are retried too, but no function is called twice for the same bytes.
  service.calls = 0;
  request.transport = Transport::kStream;
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(service.calls, 4);
  service.calls = 0;
  request.outputs.grad_input = true;
  request.take_grad_input = [](absl::Span<const std::byte> /*bytes*/) {};
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(service.calls, 1);
}

// Retries come after about 50, 200 and 650 ms.
TEST(CppClientRetry, AStreamStaysWithinItsTimeout) {
  Flaky service;
  std::string address;
  const auto server = Serve(&service, &address);
  ClientOptions options;
  options.timeout = absl::Milliseconds(500);
  auto client = Client::Connect(address, options);
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.transport = Transport::kStream;
  const absl::Time begin = absl::Now();
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(service.calls, 3);
  EXPECT_LT(absl::Now() - begin, options.timeout);
}

TEST(CppClientRetry, FindsAServerThatComesBack) {
  for (const Transport transport : {Transport::kUnary, Transport::kStream}) {
    auto first = std::make_unique<TestServer>();
    ServerOptions options;
    options.listen = {first->tcp()};
    auto client = Client::Connect(first->tcp());
    const OwnedProblem problem = ManyRows();
    LossRequest request = RequestOf(problem);
    request.transport = transport;
    EXPECT_TRUE((*client)->Evaluate(request).ok());
    first.reset();
    absl::StatusOr<std::unique_ptr<Server>> second;
    std::thread starts([&] {
      absl::SleepFor(absl::Milliseconds(50));
      second = Server::Start(options);
    });
    const auto result = (*client)->Evaluate(request);
    starts.join();
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_TRUE(result.ok()) << result.status();
  }
}

}  // namespace
}  // namespace lossd::testing
