// The standard health service, and reflection under its two names.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/status_bridge.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

/// A health watch of one service.
class Watch {
 public:
  Watch(const TestServer& server, const std::string& service)
      : stub_(grpc::health::v1::Health::NewStub(server.channel())) {
    SetDeadline(&context_);
    HealthCheckRequest request;
    request.set_service(service);
    stream_ = stub_->Watch(&context_, request);
  }
  ~Watch() {
    context_.TryCancel();
    (void)stream_->Finish();
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  HealthCheckResponse::ServingStatus Next() {
    HealthCheckResponse response;
    return stream_->Read(&response) ? response.status() : HealthCheckResponse::UNKNOWN;
  }

 private:
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> stream_;
};

/// Calls any method with one message.
absl::Status Send(const TestServer& server, const std::string& method, const std::string& message,
                  std::string* answer = nullptr) {
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto call = stub.PrepareUnaryCall(
      &context, method,
      [&] {
        const grpc::Slice slice(message);
        return grpc::ByteBuffer(&slice, 1);
      }(),
      &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (status.ok() && answer != nullptr) {
    grpc::Slice slice;
    EXPECT_TRUE(response.DumpToSingleSlice(&slice).ok());
    answer->assign(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return FromGrpc(status);
}

TEST(Health, AWatchSeesEveryChange) {
  TestServer server;
  Watch all(server, "");
  Watch loss(server, v1::LossService::service_full_name());
  EXPECT_EQ(all.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(loss.Next(), HealthCheckResponse::SERVING);
  server.server().StopAdvertising();
  EXPECT_EQ(loss.Next(), HealthCheckResponse::NOT_SERVING);
  server.server().Shutdown(absl::ZeroDuration());
  EXPECT_EQ(all.Next(), HealthCheckResponse::NOT_SERVING) << "the end of the server";
}

TEST(Health, AnUnknownServiceMayComeLater) {
  TestServer server;
  Watch watch(server, "no.such.Service");
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVICE_UNKNOWN);
}

TEST(Health, ManyWatchesAndThoseThatGo) {
  TestServer server;
  std::vector<std::unique_ptr<Watch>> watches;
  for (int i = 0; i < 90; ++i) {
    watches.push_back(std::make_unique<Watch>(server, v1::LossService::service_full_name()));
    ASSERT_EQ(watches.back()->Next(), HealthCheckResponse::SERVING);
  }
  watches.resize(45);
  server.server().StopAdvertising();
  for (const auto& watch : watches) ASSERT_EQ(watch->Next(), HealthCheckResponse::NOT_SERVING);
}

TEST(Health, BytesThatAreNoRequest) {
  const TestServer server;
  const auto status = Send(server, "/grpc.health.v1.Health/Check", "\x0a\x05x");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(Send(server, "/lossd.v1.LossService/GetServerInfo", "\x08").code(),
            absl::StatusCode::kInvalidArgument);
}

// No result depends on the fields of these requests, so a later client is served.
TEST(Health, FieldsOfALaterVersion) {
  const TestServer server;
  const std::string later = "\xa8\x06\x01";  // Number 101, a varint.
  EXPECT_TRUE(Send(server, "/grpc.health.v1.Health/Check", later).ok());
  EXPECT_TRUE(Send(server, "/lossd.v1.LossService/GetServerInfo", later).ok());
}

TEST(Reflection, HasTwoNames) {
  const TestServer server;
  grpc::reflection::v1alpha::ServerReflectionRequest request;
  request.set_list_services("");
  for (const char* version : {"v1alpha", "v1"}) {
    std::string answer;
    const auto status =
        Send(server,
             absl::StrCat("/grpc.reflection.", version, ".ServerReflection/ServerReflectionInfo"),
             request.SerializeAsString(), &answer);
    ASSERT_TRUE(status.ok()) << version << ": " << status;
    grpc::reflection::v1alpha::ServerReflectionResponse response;
    ASSERT_TRUE(response.ParseFromString(answer));
    EXPECT_EQ(response.list_services_response().service_size(), 3);
  }
}

TEST(Methods, UnknownOnesAreUnimplemented) {
  const TestServer server;
  for (const char* method :
       {"/lossd.v1.LossService/Evaluat", "/lossd.v2.LossService/Evaluate", "/x", "/"}) {
    EXPECT_EQ(Send(server, method, "").code(), absl::StatusCode::kUnimplemented) << method;
  }
}

}  // namespace
}  // namespace lossd::testing
