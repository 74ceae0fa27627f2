// Listening, infinite limits, reflection, and the shutdown of a server.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/grpc_settings.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

using Clock = std::chrono::steady_clock;
using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

OwnedProblem Small() {
  return MakeIndex(DType::kFloat32, {1, 2}, std::vector<double>(2, 1.0), {1});
}

v1::EvaluateStreamRequest Beginning() {
  const OwnedProblem problem = Small();
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(problem);
  message.set_target(std::string(problem.target.bytes.size(), '\0'));
  return message;
}

v1::EvaluateStreamRequest Logits() {
  v1::EvaluateStreamRequest message;
  message.set_input(std::string(8, '\0'));
  return message;
}

TEST(Start, DurationsAsGrpcTakesThem) {
  EXPECT_EQ(GrpcMilliseconds(absl::InfiniteDuration()), std::numeric_limits<int>::max());
  EXPECT_EQ(GrpcMilliseconds(absl::Hours(24 * 365)), std::numeric_limits<int>::max());
  EXPECT_EQ(GrpcMilliseconds(-absl::InfiniteDuration()), 0);
  EXPECT_EQ(GrpcMilliseconds(absl::Seconds(1.5)), 1500);
}

TEST(Start, AddressesThatDoNotWork) {
  const TestServer running;
  ServerOptions options;
  options.listen = {running.tcp()};
  auto second = Server::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find(running.tcp()), absl::string_view::npos);
  options.listen = {running.unix_address()};
  EXPECT_EQ(Server::Start(options).status().code(), absl::StatusCode::kUnavailable);
  for (const std::string bad : {"nonsense", "host:", ":1", "127.0.0.1:70000", "unix:"}) {
    options.listen = {bad};
    EXPECT_EQ(Server::Start(options).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  options.listen = {};
  EXPECT_FALSE(Server::Start(options).ok());
}

TEST(Start, LimitsWithoutEnd) {
  ServerOptions options;
  options.handshake_timeout = absl::InfiniteDuration();
  options.header_wait = absl::InfiniteDuration();
  options.idle_stream = absl::InfiniteDuration();
  options.max_connection_age_grace = absl::InfiniteDuration();
  options.max_connection_idle = absl::InfiniteDuration();
  TestServer server(options);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateStream(&context);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ASSERT_TRUE(stream->Write(Beginning()));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  ASSERT_TRUE(stream->Write(Logits()));
  stream->WritesDone();
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(reply.has_summary());
}

std::string RefusedMessage(const std::vector<std::string>& listen) {
  ServerOptions options;
  options.listen = listen;
  options.threads = 1;
  const auto server = Server::Start(options);
  EXPECT_FALSE(server.ok());
  return std::string(server.status().message());
}

TEST(Start, OneServerForASocket) {
  TestServer first;
  EXPECT_TRUE(absl::StrContains(RefusedMessage({first.unix_address()}), "another lossd holds"));
  const std::string path = first.unix_address().substr(5);
  // Removing the lock file does not give up the socket.
  ASSERT_EQ(unlink(absl::StrCat(path, ".lock").c_str()), 0);
  EXPECT_TRUE(absl::StrContains(RefusedMessage({first.unix_address()}), "answers there"));
  EXPECT_TRUE(CallUnary(&first.stub(), Small()).ok());
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST(Start, TheCauseOfARefusal) {
  TestServer first;
  EXPECT_TRUE(absl::StrContains(
      RefusedMessage({"127.0.0.1:0", first.tcp()}),
      absl::StrCat("cannot listen on ", first.tcp(), ": Address already in use")));
  EXPECT_TRUE(absl::StrContains(RefusedMessage({"unix:/nonexistent/x"}),
                                "cannot listen on unix:/nonexistent/x: No such file or directory"));
  EXPECT_TRUE(absl::StrContains(RefusedMessage({"192.0.2.1:0"}), "Cannot assign requested"));
  EXPECT_TRUE(absl::StrContains(RefusedMessage({}), "at least one"));
}

class Reflected {
 public:
  explicit Reflected(const std::shared_ptr<grpc::Channel>& channel)
      : stub_(ServerReflection::NewStub(channel)) {
    SetDeadline(&context_);
    stream_ = stub_->ServerReflectionInfo(&context_);
  }
  void Send(const ServerReflectionRequest& request) { EXPECT_TRUE(stream_->Write(request)); }
  ServerReflectionResponse Ask(const ServerReflectionRequest& request) {
    ServerReflectionResponse response;
    Send(request);
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  /// Waits until the server ends the stream. Returns its status code.
  grpc::StatusCode End() {
    ServerReflectionResponse response;
    EXPECT_FALSE(stream_->Read(&response));
    return stream_->Finish().error_code();
  }

 private:
  std::unique_ptr<ServerReflection::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<ServerReflectionRequest, ServerReflectionResponse>>
      stream_;
};

TEST(Start, ReflectionAnswers) {
  TestServer server;
  Reflected reflected(server.channel());
  ServerReflectionRequest request;
  request.set_list_services("");
  EXPECT_EQ(reflected.Ask(request).list_services_response().service_size(), 3);
  request.set_file_containing_symbol("lossd.v1.LossService.Evaluate");
  // The file and files that it imports.
  EXPECT_GE(reflected.Ask(request).file_descriptor_response().file_descriptor_proto_size(), 3);
  request.set_file_by_filename("grpc/health/v1/health.proto");
  EXPECT_EQ(reflected.Ask(request).file_descriptor_response().file_descriptor_proto_size(), 1);
  request.set_file_by_filename("no.proto");
  EXPECT_EQ(reflected.Ask(request).error_response().error_code(), grpc::NOT_FOUND);
  request.mutable_file_containing_extension()->set_containing_type("lossd.v1.Tensor");
  EXPECT_EQ(reflected.Ask(request).error_response().error_code(), grpc::NOT_FOUND);
  request.set_all_extension_numbers_of_type("lossd.v1.Tensor");
  EXPECT_EQ(reflected.Ask(request).all_extension_numbers_response().base_type_name(),
            "lossd.v1.Tensor");
  request.set_all_extension_numbers_of_type("no.Type");
  EXPECT_EQ(reflected.Ask(request).error_response().error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(reflected.Ask({}).error_response().error_code(), grpc::INVALID_ARGUMENT);
  request.set_file_by_filename(std::string(5000, 'x'));
  reflected.Send(request);
  EXPECT_EQ(reflected.End(), grpc::INVALID_ARGUMENT);
}

// With a thread for each silent stream, reflection would have none left for other clients.
TEST(Start, SilentReflectionKeepsNobodyOut) {
  ServerOptions options;
  options.header_wait = absl::Milliseconds(500);
  TestServer server(options);
  std::vector<std::unique_ptr<Reflected>> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(std::make_unique<Reflected>(server.channel()));
  ServerReflectionRequest request;
  request.set_list_services("");
  const auto begin = Clock::now();
  EXPECT_EQ(Reflected(server.channel()).Ask(request).list_services_response().service_size(), 3);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(3));
  for (const auto& one : silent) EXPECT_EQ(one->End(), grpc::DEADLINE_EXCEEDED);
}

// An idle health watch and an idle reflection stream, both open.
struct Onlookers {
  explicit Onlookers(const TestServer& server)
      : stub(grpc::health::v1::Health::NewStub(server.channel())), reflected(server.channel()) {
    SetDeadline(&context);
    watch = stub->Watch(&context, {});
    grpc::health::v1::HealthCheckResponse response;
    EXPECT_TRUE(watch->Read(&response));
    ServerReflectionRequest request;
    request.set_list_services("");
    reflected.Ask(request);
  }
  std::unique_ptr<grpc::health::v1::Health::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<grpc::health::v1::HealthCheckResponse>> watch;
  Reflected reflected;
};

TEST(Start, OnlookersAreNotWaitedFor) {
  TestServer server;
  const Onlookers onlookers(server);
  const auto begin = Clock::now();
  server.server().Shutdown(absl::Seconds(30));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

TEST(Start, ACallThatComputesIsWaitedFor) {
  TestServer server;
  const Onlookers onlookers(server);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server.stub().EvaluateStream(&context);
  ASSERT_TRUE(stream->Write(Beginning()));
  while (server.server().memory_used() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  auto end = std::async(std::launch::async, [&] { server.server().Shutdown(absl::Seconds(30)); });
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ASSERT_TRUE(stream->Write(Logits()));
  stream->WritesDone();
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  const auto begin = Clock::now();
  end.get();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace lossd::testing
