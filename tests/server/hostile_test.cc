// Bytes, shapes and headers from hostile peers. Each gets a precise status and little memory, and
// the next client notices nothing.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/problem/error.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/wire_write.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

OwnedProblem Small() {
  return MakeIndex(DType::kFloat32, {3, 4}, std::vector<double>(12, 1.0), {0, 1, 2});
}

/// Resident memory of this process, which contains client and server.
uint64_t ResidentBytes() {
  uint64_t total = 0;
  uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * 4096;
}

class Hostile : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(CallUnary(&server_.stub(), Small()).ok());
    before_ = ResidentBytes();
  }

  /// Expects that the next client notices nothing, and that memory has grown by no more than eight
  /// times `sent` bytes and 32 MiB.
  void ExpectUnharmed([[maybe_unused]] uint64_t sent) {
    // A new connection, because gRPC may have closed the other one.
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel =
        grpc::CreateCustomChannel(server_.tcp(), grpc::InsecureChannelCredentials(), arguments);
    const auto next = v1::LossService::NewStub(channel);
    const auto result = CallUnary(next.get(), Small());
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(server_.MemoryIsBack());
#ifndef __SANITIZE_ADDRESS__
    const uint64_t now = ResidentBytes();
    EXPECT_LE(now, before_ + 8 * sent + (uint64_t{32} << 20U));
#endif
  }

  /// The status of a call whose only message is `bytes`.
  absl::Status SendBytes(const std::string& method, const std::string& bytes) {
    grpc::GenericStub stub(server_.channel());
    grpc::ClientContext context;
    SetDeadline(&context);
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(&context, "/lossd.v1.LossService/" + method, &queue);
    const auto wait = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      queue.Next(&tag, &ok);
      return ok;
    };
    call->StartCall(nullptr);
    wait();
    const grpc::Slice slice(bytes);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
    wait();
    grpc::ByteBuffer answer;
    do {
      call->Read(&answer, nullptr);
    } while (wait());
    grpc::Status status;
    call->Finish(&status, nullptr);
    wait();
    return FromGrpc(status);
  }

  /// The status of a stream with `header` and nothing else.
  absl::Status SendHeader(const v1::EvaluateStreamHeader& header) {
    v1::EvaluateStreamRequest message;
    *message.mutable_header() = header;
    return SendBytes("EvaluateStream", message.SerializeAsString());
  }

  TestServer server_;
  uint64_t before_ = 0;
};

TEST_F(Hostile, BytesThatAreNoMessage) {
  // A varint without end, a length beyond the message, a varint without end in a submessage, field
  // 0, a group, and a length of 2^31 - 1.
  const std::vector<std::string> lies = {std::string("\xff\xff\xff\xff\xff"),
                                         std::string("\x7a\x10short"),
                                         std::string("\x0a\x05\xff\xff\xff\xff\xff", 7),
                                         std::string("\x00\x00", 2),
                                         std::string("\x7b"),
                                         std::string("\x7a\xff\xff\xff\xff\x07zero")};
  for (const char* method : {"Evaluate", "EvaluateMany", "EvaluateStream", "Combine"}) {
    for (const std::string& bytes : lies) {
      const absl::Status status = SendBytes(method, bytes);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << method << " " << status;
      EXPECT_EQ(GetErrorDetail(status).reason, "MALFORMED_MESSAGE") << method << " " << status;
    }
  }
  ExpectUnharmed(1000);
}

// Protobuf would keep the groups at 27 times their size. They are found before Protobuf sees them.
TEST_F(Hostile, UnknownGroupsWithoutEnd) {
  std::string groups;
  while (groups.size() < (size_t{4} << 20U) - 4096) groups += "\x33\x34";
  const std::string request = MakeRequest(Small()).SerializeAsString() + groups;
  const std::string many = FieldPrefix(2, request.size()) + request;
  const std::string header = MakeHeader(Small()).SerializeAsString() + groups;
  const std::string stream = FieldPrefix(1, header.size()) + header;
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(GetErrorDetail(SendBytes("Evaluate", request)).reason, "FIELD_UNKNOWN");
    EXPECT_TRUE(SendBytes("EvaluateMany", many).ok()) << "one request is refused, and no more";
    EXPECT_EQ(GetErrorDetail(SendBytes("EvaluateStream", stream)).reason, "FIELD_UNKNOWN");
    EXPECT_EQ(GetErrorDetail(SendBytes("Combine", groups)).reason, "FIELD_UNKNOWN");
  }
  ExpectUnharmed(groups.size());
}

TEST_F(Hostile, ShapesBeyondEveryMachine) {
  constexpr int64_t kBillion = 1'000'000'000;
  const std::vector<std::vector<int64_t>> shapes = {{kBillion, kBillion},
                                                    {kBillion, 2, kBillion},
                                                    {std::numeric_limits<int64_t>::max(), 2},
                                                    {int64_t{1} << 32U, int64_t{1} << 32U},
                                                    {kBillion, int64_t{1} << 24U},
                                                    {-1, 10},
                                                    std::vector<int64_t>(1000, 2)};
  for (const auto& shape : shapes) {
    v1::EvaluateStreamHeader header = MakeHeader(Small());
    header.mutable_outputs()->set_grad_input(true);
    header.mutable_input()->clear_shape();
    header.mutable_target()->clear_shape();
    for (size_t i = 0; i < shape.size(); ++i) {
      header.mutable_input()->add_shape(shape[i]);
      if (i != 1) header.mutable_target()->add_shape(shape[i]);
    }
    const absl::Status status = SendHeader(header);
    EXPECT_TRUE(status.code() == absl::StatusCode::kInvalidArgument ||
                status.code() == absl::StatusCode::kResourceExhausted)
        << status;
    EXPECT_FALSE(GetErrorDetail(status).reason.empty()) << status;
  }
  ExpectUnharmed(100'000);
}

TEST_F(Hostile, AStatedSizeThatNeverComes) {
  // Just within the limits. The stated size is not allocated before bytes come.
  v1::EvaluateStreamHeader header = MakeHeader(Small());
  header.mutable_input()->set_shape(0, 60'000'000);
  header.mutable_target()->set_shape(0, 60'000'000);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<
      grpc::ClientReaderWriter<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>>>
      streams;
  for (int i = 0; i < 8; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    SetDeadline(contexts.back().get());
    streams.push_back(server_.stub().EvaluateStream(contexts.back().get()));
    v1::EvaluateStreamRequest message;
    *message.mutable_header() = header;
    ASSERT_TRUE(streams.back()->Write(message));
  }
  EXPECT_TRUE(CallUnary(&server_.stub(), Small()).ok());
  for (auto& context : contexts) context->TryCancel();
  for (auto& stream : streams) stream->Finish();
  ExpectUnharmed(8 * 1000);
}

TEST_F(Hostile, EmptyChunksWithoutEnd) {
  const OwnedProblem problem = Small();
  grpc::ClientContext context;
  SetDeadline(&context);
  // Without retries. For retries gRPC's client, which is in this process too, keeps each message
  // until the first answer: some 550 bytes for an empty one.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  const auto channel =
      grpc::CreateCustomChannel(server_.tcp(), grpc::InsecureChannelCredentials(), arguments);
  const auto stub = v1::LossService::NewStub(channel);
  const auto stream = stub->EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(problem);
  ASSERT_TRUE(stream->Write(message));
  message.Clear();
  message.set_input("");
  const int chunks = std::getenv("LOSSD_FULL") != nullptr ? 1'000'000 : 50'000;
  for (int i = 0; i < chunks; ++i) {
    ASSERT_TRUE(stream->Write(message, grpc::WriteOptions().set_buffer_hint()));
  }
  message.Clear();
  message.set_target(
      {reinterpret_cast<const char*>(problem.target.bytes.data()), problem.target.bytes.size()});
  message.set_input(
      {reinterpret_cast<const char*>(problem.input.bytes.data()), problem.input.bytes.size()});
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
  }
  EXPECT_TRUE(reply.has_summary());
  EXPECT_TRUE(stream->Finish().ok());
  ExpectUnharmed(static_cast<uint64_t>(chunks) * 5);
}

TEST_F(Hostile, HeadersOfAMegabyte) {
  grpc::ClientContext context;
  SetDeadline(&context);
  context.AddMetadata("x-long", std::string(1 << 20U, 'x'));
  v1::EvaluateResponse response;
  const grpc::Status status = server_.stub().Evaluate(&context, MakeRequest(Small()), &response);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED) << status.error_message();
  ExpectUnharmed(1 << 20U);
}

TEST_F(Hostile, CompressedBombs) {
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    grpc::ClientContext context;
    SetDeadline(&context);
    context.set_compression_algorithm(algorithm);
    v1::EvaluateRequest request = MakeRequest(Small());
    request.mutable_input()->set_raw(std::string(size_t{64} << 20U, '\0'));
    v1::EvaluateResponse response;
    const grpc::Status status = server_.stub().Evaluate(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::UNIMPLEMENTED) << status.error_message();
  }
  // This process made the bomb too, so its size counts as sent.
  ExpectUnharmed(size_t{64} << 20U);
}

}  // namespace
}  // namespace lossd::testing
