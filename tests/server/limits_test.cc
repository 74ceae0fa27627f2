// Streams that wait too long for their peer, replies that nobody reads, an idle server, and calls
// above the memory budget.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "core/problem/error.h"
#include "proto/codec/status_bridge.h"
#include "tests/support/problem.h"
#include "tests/support/raw_http2.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

using Clock = std::chrono::steady_clock;

OwnedProblem Ones(int64_t rows, int64_t classes) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {rows, classes},
                                   std::vector<double>(static_cast<size_t>(rows * classes), 1.0),
                                   std::vector<double>(static_cast<size_t>(rows), 0.0));
  problem.criterion.reduction = Reduction::kSum;
  return problem;
}

ServerOptions Impatient() {
  ServerOptions options;
  options.header_wait = absl::Milliseconds(300);
  options.idle_stream = absl::Milliseconds(300);
  return options;
}

/// Expects that a call has ended with DEADLINE_EXCEEDED, `reason` and a message with `text`, less
/// than three seconds after `begin`, and that nothing is left of it.
void ExpectEnded(const absl::Status& status, const std::string& reason, const std::string& text,
                 Clock::time_point begin, TestServer* server) {
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(GetErrorDetail(status).reason, reason) << status;
  EXPECT_NE(status.message().find(text), absl::string_view::npos) << status;
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
  EXPECT_TRUE(server->MemoryIsBack());
  EXPECT_TRUE(CallUnary(&server->stub(), Ones(3, 4)).ok());
}

/// Sends nothing more on a stream, and expects that the server ends it.
template <typename Stream, typename Reply>
void ExpectSilenceEnds(Stream* stream, Reply reply, const std::string& reason,
                       const std::string& text, TestServer* server) {
  const auto begin = Clock::now();
  EXPECT_FALSE(stream->Read(&reply));
  ExpectEnded(FromGrpc(stream->Finish()), reason, text, begin, server);
}

constexpr char kIdle[] = "no byte was read or written for 300ms";

TEST(Limits, AStreamWithoutAHeader) {
  TestServer server(Impatient());
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateStream(&context);
  ExpectSilenceEnds(stream.get(), v1::EvaluateStreamResponse(), "HEADER_WAIT",
                    "header: expected it within 300ms", &server);
}

TEST(Limits, AStreamThatStops) {
  TestServer server(Impatient());
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(Ones(100, 10));
  message.set_target(std::string(17, '\0'));
  ASSERT_TRUE(stream->Write(message));
  ExpectSilenceEnds(stream.get(), v1::EvaluateStreamResponse(), "IDLE_STREAM", kIdle, &server);
}

TEST(Limits, ManyWithoutARequest) {
  TestServer server(Impatient());
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateMany(&context);
  ExpectSilenceEnds(stream.get(), v1::EvaluateManyResponse(), "HEADER_WAIT",
                    "expected a request within 300ms", &server);
}

TEST(Limits, ManyThatStops) {
  TestServer server(Impatient());
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateMany(&context);
  v1::EvaluateManyRequest message;
  *message.mutable_request() = MakeRequest(Ones(3, 4));
  ASSERT_TRUE(stream->Write(message));
  v1::EvaluateManyResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  ExpectSilenceEnds(stream.get(), answer, "IDLE_STREAM", kIdle, &server);
}

TEST(Limits, AHalfMessageEnds) {
  ServerOptions options;
  options.message_wait = absl::Milliseconds(300);
  TestServer server(options);
  const std::string whole = Framed(MakeRequest(Ones(300, 100)).SerializeAsString());
  for (const char* method : {"Evaluate", "Combine"}) {
    SCOPED_TRACE(method);
    RawConnection connection(server.tcp(), 1U << 20U);
    const uint32_t stream = connection.Begin(method);
    const auto begin = Clock::now();
    ASSERT_TRUE(connection.Send(stream, whole.substr(0, whole.size() / 2), false));
    ASSERT_TRUE(connection.AwaitEnd(stream, std::chrono::seconds(5)));
    EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(300));
    EXPECT_NE(connection.trailers(stream).find("expected the whole request within 300ms"),
              std::string::npos)
        << connection.trailers(stream);
    EXPECT_TRUE(CallUnary(&server.stub(), Ones(8, 10)).ok());
  }
  EXPECT_TRUE(server.MemoryIsBack());
}

TEST(Limits, NoneIsNone) {
  ServerOptions options;
  options.header_wait = absl::InfiniteDuration();
  options.idle_stream = absl::InfiniteDuration();
  options.message_wait = absl::InfiniteDuration();
  TestServer server(options);
  EXPECT_TRUE(CallUnary(&server.stub(), Ones(8, 10)).ok());
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateMany(&context);
  v1::EvaluateManyRequest message;
  *message.mutable_request() = MakeRequest(Ones(3, 4));
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    ASSERT_TRUE(stream->Write(message));
    v1::EvaluateManyResponse answer;
    ASSERT_TRUE(stream->Read(&answer));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

// In some clients, the call that opens a stream returns only with the server's headers.
TEST(Limits, HeadersComeToAClientThatWaitsForThem) {
  TestServer server;
  const auto expect_at_once = [](auto* stream, grpc::ClientContext* context) {
    const auto begin = Clock::now();
    stream->WaitForInitialMetadata();
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
    context->TryCancel();
    stream->Finish();
  };
  grpc::ClientContext of_many;
  SetDeadline(&of_many);
  expect_at_once(server.stub().EvaluateMany(&of_many).get(), &of_many);
  grpc::ClientContext of_stream;
  SetDeadline(&of_stream);
  expect_at_once(server.stub().EvaluateStream(&of_stream).get(), &of_stream);
}

// If the client reads nothing, the server stops reading too and ends the stream. The client gets a
// cancel, because no status can pass the replies that wait.
TEST(Limits, AReaderThatDoesNotRead) {
  TestServer server(Impatient());
  const OwnedProblem problem = Ones(20000, 1000);  // 80 MB each way.
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto begin = Clock::now();
  const auto stream = server.stub().EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(problem);
  message.set_target(std::string(problem.target.bytes.size(), '\0'));
  bool taken = stream->Write(message);
  message.Clear();
  message.set_input(std::string(size_t{1} << 20U, '\0'));
  int chunks = 0;
  for (; taken && chunks < 80; ++chunks) taken = stream->Write(message);
  EXPECT_LT(chunks, 80) << "the server read on without anybody reading its replies";
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
  }
  EXPECT_FALSE(stream->Finish().ok());
  EXPECT_TRUE(server.MemoryIsBack()) << server.server().memory_used();
}

// A slow client that goes on sending is not idle.
TEST(Limits, SlowIsNotIdle) {
  TestServer server(Impatient());
  const OwnedProblem problem = Ones(6, 10);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(problem);
  message.set_target(std::string(problem.target.bytes.size(), '\0'));
  ASSERT_TRUE(stream->Write(message));
  for (int row = 0; row < 6; ++row) {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    message.Clear();
    message.set_input(std::string(40, '\0'));
    ASSERT_TRUE(stream->Write(message));
  }
  stream->WritesDone();
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
}

// After an idle second, gRPC's threads sleep for a tenth of a second, and a call would wait for
// them. The threads start together, so that after a second without a call all of them sleep.
TEST(Limits, ACallAfterAnIdleSecondIsQuick) {
  auto best = Clock::duration::max();
  for (int i = 0; i < 3; ++i) {
    const auto start = Clock::now();
    TestServer server;
    const OwnedProblem problem = Ones(8, 10);
    ASSERT_TRUE(server.channel()->WaitForConnected(std::chrono::system_clock::now() +
                                                   std::chrono::seconds(1)));
    std::this_thread::sleep_until(start + std::chrono::milliseconds(1040));
    const auto begin = Clock::now();
    ASSERT_TRUE(CallUnary(&server.stub(), problem).ok());
    best = std::min(best, Clock::now() - begin);
  }
  EXPECT_LT(best, std::chrono::milliseconds(15));
}

TEST(Limits, AStreamAboveTheBudgetIsRefusedAtItsHeader) {
  ServerOptions options;
  options.max_memory_bytes = 2 << 20;
  TestServer server(options);
  OwnedProblem problem = Ones(4000, 100);
  problem.outputs.grad_input = true;  // 3.2 MB in all.
  const auto status = CallStream(&server.stub(), problem, 1 << 18U).status();
  ExpectError(status, absl::StatusCode::kResourceExhausted, "", "MEMORY_LIMIT");
  EXPECT_TRUE(CallUnary(&server.stub(), Ones(8, 10)).ok());
}

// A message with many weights and no positions: there is no task for the pool.
TEST(Limits, AMessageOfWeightsAlone) {
  TestServer server;
  constexpr int64_t kClasses = 9000;
  OwnedProblem problem = Ones(0, kClasses);
  problem.outputs.grad_input = true;
  problem.weight = MakeTensor(DType::kFloat32, {kClasses}, std::vector<double>(kClasses, 1.0));
  const auto expected = RunBatch(problem);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto unary = CallUnary(&server.stub(), problem);
  ASSERT_TRUE(unary.ok()) << unary.status();
  EXPECT_EQ(Difference(*unary, *expected), "");
  const auto many = CallMany(&server.stub(), {&problem});
  ASSERT_TRUE(many[0].ok()) << many[0].status();
  EXPECT_EQ(Difference(*many[0], *expected), "");
}

// A call holds its message, the parsed message and its results. The budget has room for two of the
// three.
TEST(Limits, ACallWhoseMessageAndResultsExceedTheBudget) {
  for (const int64_t rows : {60, 2000}) {  // Evaluated on the receiving thread, and by the pool.
    OwnedProblem problem = Ones(rows, 100);
    problem.outputs.grad_input = true;
    ServerOptions options;
    options.max_memory_bytes = problem.input.bytes.size() * 5 / 2;
    TestServer server(options);
    const auto status = CallUnary(&server.stub(), problem).status();
    ExpectError(status, absl::StatusCode::kResourceExhausted, "", "MEMORY_LIMIT");
    problem.outputs.grad_input = false;
    EXPECT_TRUE(CallUnary(&server.stub(), problem).ok());
    EXPECT_TRUE(server.MemoryIsBack());
  }
}

}  // namespace
}  // namespace lossd::testing
