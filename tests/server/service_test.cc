// The server as its clients see it: errors with their details, the order of messages, replies
// before the rest is sent, cancels, health, and a server that is unharmed afterwards.
#include "tests/support/service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/lossd/client.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/summary_codec.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

using Stream = grpc::ClientReaderWriter<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>;

OwnedProblem Rows(int64_t rows, int64_t classes, Reduction reduction = Reduction::kMean) {
  OwnedProblem problem;
  problem.criterion.reduction = reduction;
  problem.outputs.grad_input = true;
  std::vector<double> x(static_cast<size_t>(rows * classes));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>((i * 7919) % 97) / 8 - 6;
  std::vector<double> labels(static_cast<size_t>(rows));
  for (size_t i = 0; i < labels.size(); ++i) {
    labels[i] = static_cast<double>(i % static_cast<size_t>(classes));
  }
  problem.input = MakeTensor(DType::kFloat32, {rows, classes}, x);
  problem.target = MakeTensor(DType::kInt64, {rows}, labels);
  return problem;
}

std::string Raw(const Bytes& bytes, size_t begin = 0, size_t end = std::string::npos) {
  end = std::min(end, bytes.size());
  return {reinterpret_cast<const char*>(bytes.data()) + begin, end - begin};
}

class ServiceTest : public ::testing::Test {
 protected:
  /// Whatever happened in a test, the next client notices nothing.
  void TearDown() override {
    const auto results = CallUnary(&server_.stub(), Rows(3, 4));
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_EQ(Difference(*results, *RunBatch(Rows(3, 4))), "");
    EXPECT_TRUE(server_.MemoryIsBack()) << server_.server().memory_used() << " bytes are held";
  }

  /// Sends the messages. Returns the status with which the stream ends.
  absl::Status RunStream(const std::vector<v1::EvaluateStreamRequest>& messages) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = server_.stub().EvaluateStream(&context);
    for (const auto& message : messages) {
      if (!stream->Write(message)) break;
    }
    stream->WritesDone();
    v1::EvaluateStreamResponse reply;
    while (stream->Read(&reply)) {
    }
    return FromGrpc(stream->Finish());
  }

  TestServer server_;
};

TEST_F(ServiceTest, UnaryErrorsNameTheField) {
  OwnedProblem problem = Rows(3, 4);
  problem.criterion.cross_entropy().label_smoothing = 2;
  ExpectError(CallUnary(&server_.stub(), problem).status(), absl::StatusCode::kInvalidArgument,
              "criterion.cross_entropy.label_smoothing", "LABEL_SMOOTHING_RANGE");
  problem = Rows(3, 4);
  problem.target = MakeTensor(DType::kInt64, {3}, {0, 1, 9});
  ExpectError(CallUnary(&server_.stub(), problem).status(), absl::StatusCode::kInvalidArgument,
              "target[2]", "LABEL_OUT_OF_RANGE");
  problem = Rows(3, 4);
  problem.input.spec.shape = {int64_t{1} << 40U, int64_t{1} << 40U};
  ExpectError(CallUnary(&server_.stub(), problem).status(), absl::StatusCode::kInvalidArgument,
              "input.shape", "SHAPE_OVERFLOW");
  problem = Rows(3, 4);
  problem.input.bytes.pop_back();
  ExpectError(CallUnary(&server_.stub(), problem).status(), absl::StatusCode::kInvalidArgument,
              "input", "LENGTH_MISMATCH");
}

TEST_F(ServiceTest, AMessageAboveTheLimitIsRefused) {
  const auto status = CallUnary(&server_.stub(), Rows(2000, 1000)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(ServiceTest, ManyAnswersBadRequestsAndGoesOn) {
  const OwnedProblem good = Rows(3, 4);
  OwnedProblem bad = good;
  bad.target = MakeTensor(DType::kInt64, {3}, {0, 1, 4});
  const OwnedProblem large = Rows(200, 1000);
  const auto answers = CallMany(&server_.stub(), {&bad, &large, &good, &bad});
  ExpectError(answers[0].status(), absl::StatusCode::kInvalidArgument, "request.target[2]",
              "LABEL_OUT_OF_RANGE");
  ASSERT_TRUE(answers[1].ok()) << answers[1].status();
  EXPECT_EQ(Difference(*answers[1], *RunBatch(large)), "");
  ASSERT_TRUE(answers[2].ok());
  EXPECT_FALSE(answers[3].ok());
}

TEST_F(ServiceTest, ManyWithoutAProblem) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server_.stub().EvaluateMany(&context);
  v1::EvaluateManyRequest request;
  request.set_id(7);
  ASSERT_TRUE(stream->Write(request));
  v1::EvaluateManyResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.id(), 7U);
  ExpectError(FromProto(response.error()), absl::StatusCode::kInvalidArgument, "request",
              "FIELD_MISSING");
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

// An option of a later client must not be ignored: the loss would be wrong.
TEST_F(ServiceTest, UnknownFieldsAreRefused) {
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  const auto add = [](google::protobuf::Message* message) {
    message->GetReflection()->MutableUnknownFields(message)->AddVarint(77, 1);
  };
  const auto evaluate = [&](const std::string& field, const auto& part) {
    v1::EvaluateRequest request = MakeRequest(Rows(3, 4));
    add(part(&request));
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::EvaluateResponse response;
    const auto status = FromGrpc(server_.stub().Evaluate(&context, request, &response));
    ExpectError(status, kBad, field, "FIELD_UNKNOWN");
  };
  using Request = v1::EvaluateRequest;
  evaluate("", [](Request* request) { return request; });
  evaluate("criterion", [](Request* request) { return request->mutable_criterion(); });
  evaluate("criterion.cross_entropy",
           [](Request* request) { return request->mutable_criterion()->mutable_cross_entropy(); });
  evaluate("outputs", [](Request* request) { return request->mutable_outputs(); });
  evaluate("input", [](Request* request) { return request->mutable_input(); });
  v1::EvaluateStreamRequest stream;
  *stream.mutable_header() = MakeHeader(Rows(3, 4));
  add(stream.mutable_header()->mutable_criterion());
  ExpectError(RunStream({stream}), kBad, "header.criterion", "FIELD_UNKNOWN");
  *stream.mutable_header() = MakeHeader(Rows(3, 4));
  add(&stream);
  ExpectError(RunStream({stream}), kBad, "", "FIELD_UNKNOWN");
  v1::CombineRequest combine;
  for (int i = 0; i < 3; ++i) ToWire(RunBatch(Rows(3, 4))->summary, combine.add_summaries());
  add(combine.mutable_summaries(2)->mutable_loss_sum());
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::CombineResponse combined;
  ExpectError(FromGrpc(server_.stub().Combine(&context, combine, &combined)), kBad,
              "summaries[2].loss_sum", "FIELD_UNKNOWN");
}

TEST_F(ServiceTest, ManyAnswersUnknownFieldsById) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server_.stub().EvaluateMany(&context);
  for (const int rows : {3, 900}) {
    v1::EvaluateManyRequest request;
    request.set_id(static_cast<uint64_t>(rows));
    *request.mutable_request() = MakeRequest(Rows(rows, 100));
    v1::Outputs* const outputs = request.mutable_request()->mutable_outputs();
    for (const bool unknown : {true, false}) {
      auto* fields = outputs->GetReflection()->MutableUnknownFields(outputs);
      if (unknown) {
        fields->AddFixed32(77, 1);
      } else {
        fields->Clear();
      }
      ASSERT_TRUE(stream->Write(request));
      v1::EvaluateManyResponse response;
      ASSERT_TRUE(stream->Read(&response));
      EXPECT_EQ(response.id(), request.id());
      EXPECT_EQ(response.has_response(), !unknown);
      if (!unknown) continue;
      ExpectError(FromProto(response.error()), absl::StatusCode::kInvalidArgument,
                  "request.outputs", "FIELD_UNKNOWN");
    }
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(ServiceTest, StreamMessagesOutOfOrder) {
  const OwnedProblem problem = Rows(8, 4);
  v1::EvaluateStreamRequest header;
  *header.mutable_header() = MakeHeader(problem);
  v1::EvaluateStreamRequest target;
  target.set_target(Raw(problem.target.bytes));
  v1::EvaluateStreamRequest input;
  input.set_input(Raw(problem.input.bytes));
  v1::EvaluateStreamRequest one_byte;
  one_byte.set_input("x");
  v1::EvaluateStreamRequest half;
  half.set_input(Raw(problem.input.bytes, 0, 64));
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  ExpectError(RunStream({}), kBad, "header", "HEADER_MISSING");
  ExpectError(RunStream({target}), kBad, "header", "HEADER_MISSING");
  ExpectError(RunStream({header, header}), kBad, "header", "HEADER_REPEATED");
  ExpectError(RunStream({header, input}), kBad, "input", "TARGET_AFTER_INPUT");
  ExpectError(RunStream({header, target, target}), kBad, "target", "LENGTH_EXCEEDED");
  ExpectError(RunStream({header, target, input, one_byte}), kBad, "input", "LENGTH_EXCEEDED");
  ExpectError(RunStream({header, target, half}), kBad, "input", "LENGTH_MISMATCH");
  ExpectError(RunStream({header}), kBad, "target", "LENGTH_MISMATCH");
  v1::EvaluateStreamRequest bad_header = header;
  bad_header.mutable_header()->mutable_input()->set_dtype(v1::DATA_TYPE_INT8);
  ExpectError(RunStream({bad_header}), kBad, "header.input.dtype", "DTYPE_UNSUPPORTED");
  bad_header.mutable_header()->mutable_input()->set_dtype(static_cast<v1::DataType>(99));
  ExpectError(RunStream({bad_header}), kBad, "header.input.dtype", "ENUM_UNKNOWN");
  EXPECT_TRUE(RunStream({header, target, input}).ok());
  // Everything in one message, and empty messages, are valid.
  v1::EvaluateStreamRequest all = header;
  all.MergeFrom(target);
  all.MergeFrom(input);
  EXPECT_TRUE(RunStream({all, v1::EvaluateStreamRequest()}).ok());
}

TEST_F(ServiceTest, StreamRefusesALargeShapeBeforeItAllocates) {
  OwnedProblem problem = Rows(1, 4);
  problem.input.spec.shape = {int64_t{1} << 36U, 4};
  problem.target.spec.shape = {int64_t{1} << 36U};
  v1::EvaluateStreamRequest header;
  *header.mutable_header() = MakeHeader(problem);
  ExpectError(RunStream({header}), absl::StatusCode::kResourceExhausted, "header.target.shape",
              "LIMIT_EXCEEDED");
}

TEST_F(ServiceTest, HalfTheRowsBringTheirGradientsBeforeTheRestIsSent) {
  const OwnedProblem problem = Rows(1000, 100);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = server_.stub().EvaluateStream(&context);
  v1::EvaluateStreamRequest message;
  *message.mutable_header() = MakeHeader(problem);
  message.set_target(Raw(problem.target.bytes));
  const size_t half = problem.input.bytes.size() / 2;
  message.set_input(Raw(problem.input.bytes, 0, half));
  ASSERT_TRUE(stream->Write(message));
  std::string gradient;
  v1::EvaluateStreamResponse reply;
  while (gradient.size() < half && stream->Read(&reply)) gradient += reply.grad_input();
  ASSERT_EQ(gradient.size(), half) << "nothing was sent after the first half";
  message.Clear();
  message.set_input(Raw(problem.input.bytes, half));
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  while (stream->Read(&reply)) gradient += reply.grad_input();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(gradient, Raw(RunBatch(problem)->grad_input));
}

TEST_F(ServiceTest, CancelInEveryState) {
  const OwnedProblem problem = Rows(20000, 100);
  const size_t bytes = problem.input.bytes.size();
  for (const int state : {0, 1, 2, 3, 4}) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = server_.stub().EvaluateStream(&context);
    v1::EvaluateStreamRequest message;
    if (state > 0) {
      *message.mutable_header() = MakeHeader(problem);
      message.set_target(Raw(problem.target.bytes, 0, state == 1 ? 800 : std::string::npos));
      ASSERT_TRUE(stream->Write(message));
    }
    // The client reads nothing, so that the server's writes are stuck in states 3 and 4.
    for (size_t at = 0; state > 1 && at < bytes / (state == 2 ? 4 : 2); at += 1 << 18U) {
      message.Clear();
      message.set_input(Raw(problem.input.bytes, at, at + (1 << 18U)));
      if (state == 2 || at < size_t{1} << 21U) {
        stream->Write(message);
      }
    }
    if (state == 4) stream->WritesDone();
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
    EXPECT_TRUE(server_.MemoryIsBack()) << "state " << state;
  }
}

TEST_F(ServiceTest, CombineOverTheWire) {
  const OwnedProblem whole = Rows(10, 4);
  auto client = Client::Connect(server_.tcp());
  std::vector<Summary> shards;
  for (int i = 0; i < 2; ++i) {
    OwnedProblem part = whole;
    part.input.spec.shape = {5, 4};
    part.input.bytes.assign(whole.input.bytes.begin() + i * 80,
                            whole.input.bytes.begin() + (i + 1) * 80);
    part.target.spec.shape = {5};
    part.target.bytes.assign(whole.target.bytes.begin() + i * 40,
                             whole.target.bytes.begin() + (i + 1) * 40);
    shards.push_back(CallUnary(&server_.stub(), part)->summary);
  }
  const auto combined = (*client)->Combine(shards);
  ASSERT_TRUE(combined.ok()) << combined.status();
  EXPECT_EQ(ReducedLoss(*combined), ReducedLoss(RunBatch(whole)->summary));
  shards[1].classes = 5;
  ExpectError((*client)->Combine(shards).status(), absl::StatusCode::kInvalidArgument,
              "summaries[1]", "SUMMARY_MISMATCH");
  ExpectError((*client)->Combine({}).status(), absl::StatusCode::kInvalidArgument, "summaries",
              "FIELD_MISSING");
}

TEST_F(ServiceTest, InfoSaysTheLimits) {
  auto client = Client::Connect(server_.unix_address());
  const auto info = (*client)->GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->limits.max_message_bytes, uint64_t{4} << 20U);
  EXPECT_EQ(info->threads, 2U);
  EXPECT_FALSE(info->version.empty());
  EXPECT_FALSE(info->shared_memory);
}

TEST_F(ServiceTest, Health) {
  auto client = Client::Connect(server_.tcp());
  EXPECT_TRUE((*client)->CheckHealth("").ok());
  EXPECT_TRUE((*client)->CheckHealth("lossd.v1.LossService").ok());
  EXPECT_EQ((*client)->CheckHealth("no.such.Service").code(), absl::StatusCode::kNotFound);
  const auto health = grpc::health::v1::Health::NewStub(server_.channel());
  grpc::ClientContext context;
  SetDeadline(&context);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("lossd.v1.LossService");
  const auto watch = health->Watch(&context, request);
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  server_.server().StopAdvertising();
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  context.TryCancel();
  (void)watch->Finish();
  EXPECT_TRUE((*client)->CheckHealth("").ok()) << "alive, though no longer ready";
}

TEST_F(ServiceTest, ConcurrentCallsOfEveryKind) {
  const OwnedProblem small = Rows(8, 10);
  const OwnedProblem large = Rows(500, 1000);
  const auto small_result = RunBatch(small);
  const auto large_result = RunBatch(large);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const auto a = CallUnary(&server_.stub(), small);
        ASSERT_TRUE(a.ok()) << a.status();
        EXPECT_EQ(Difference(*a, *small_result), "");
        const auto b = t % 2 == 0 ? CallStream(&server_.stub(), large, 100'000)
                                  : CallUnary(&server_.stub(), large);
        ASSERT_TRUE(b.ok()) << b.status();
        EXPECT_EQ(Difference(*b, *large_result), "");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace lossd::testing
