// Problems with parts that are larger than a message: a large class weight, targets and incoming
// gradients larger than the input, servers that accept only small messages.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/error.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

/// A tensor of `count` zeros; fast even for many.
OwnedTensor Zeros(DType dtype, Shape shape, size_t count) {
  return {{dtype, std::move(shape)}, Bytes(count * SizeOf(dtype))};
}
template <typename T>
OwnedTensor Filled(DType dtype, Shape shape, const std::vector<T>& values) {
  OwnedTensor tensor = Zeros(dtype, std::move(shape), values.size());
  std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

/// One row of zeros with label 3 and weights of 1.
template <typename T>
OwnedProblem OneRow(DType dtype, size_t classes) {
  const auto size = static_cast<int64_t>(classes);
  OwnedProblem problem;
  problem.input = Zeros(dtype, {1, size}, classes);
  problem.target = MakeTensor(DType::kInt64, {1}, {3});
  problem.weight = Filled<T>(dtype, {size}, std::vector<T>(classes, T{1}));
  return problem;
}

double Loss(const absl::StatusOr<LossResult>& result, DType dtype) {
  if (!result.ok()) return NAN;
  return Values(dtype, BytesOf(result->loss))[0];
}

TEST(ClientWeight, OfMoreClassesThanAMessageHolds) {
  TestServer server;
  auto client = Client::Connect(server.tcp());
  for (const Transport transport : {Transport::kAuto, Transport::kStream}) {
    OwnedProblem problem = OneRow<float>(DType::kFloat32, 1'100'000);
    LossRequest request = RequestOf(problem);
    request.transport = transport;
    auto result = (*client)->Evaluate(request);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_FLOAT_EQ(static_cast<float>(Loss(result, DType::kFloat32)), 13.910821F);
    const auto expected = RunBatch(problem);
    EXPECT_EQ(result->summary.weight_digest, expected->summary.weight_digest);
    problem = OneRow<double>(DType::kFloat64, 530'000);
    request = RequestOf(problem);
    request.transport = transport;
    result = (*client)->Evaluate(request);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_DOUBLE_EQ(Loss(result, DType::kFloat64), std::log(530'000.0));
  }
  EXPECT_TRUE(server.MemoryIsBack());
}

TEST(ClientWeight, BesideProbabilitiesThatOutweighTheInput) {
  TestServer server;
  auto client = Client::Connect(server.tcp());
  constexpr size_t kClasses = 262'144;
  OwnedProblem problem;
  problem.input = Zeros(DType::kFloat16, {3, kClasses}, 3 * kClasses);
  std::vector<float> target(3 * kClasses, 0.0F);
  for (size_t row = 0; row < 3; ++row) target[row * kClasses + row] = 1.0F;
  problem.target = Filled(DType::kFloat32, {3, kClasses}, target);
  problem.weight = Filled(DType::kFloat32, {kClasses}, std::vector<float>(kClasses, 1.0F));
  problem.outputs.grad_weight = true;
  const auto expected = RunBatch(problem);
  for (const Transport transport : {Transport::kAuto, Transport::kStream}) {
    LossRequest request = RequestOf(problem);
    request.transport = transport;
    const auto result = (*client)->Evaluate(request);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_FLOAT_EQ(static_cast<float>(Loss(result, DType::kFloat32)), 12.4766493F);
    EXPECT_EQ(Difference(ResultsOf(*result), *expected), "");
  }
}

/// Half-precision rows of two classes, with a target and grad_output that are together three times
/// as large.
OwnedProblem HeavyCompanions(Shape shape, size_t positions) {
  OwnedProblem problem;
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs.grad_input = true;
  problem.input = Zeros(DType::kFloat16, shape, 2 * positions);
  problem.target = Filled(DType::kFloat32, shape, std::vector<float>(2 * positions, 0.5F));
  shape.erase(shape.begin() + 1);
  problem.grad_output =
      Filled(DType::kFloat32, std::move(shape), std::vector<float>(positions, 1.0F));
  return problem;
}

TEST(ClientWeight, CompanionsCountAsPartsOfAMessage) {
  TestServer server;
  auto client = Client::Connect(server.tcp());
  constexpr size_t kPositions = 262'144;
  for (const OwnedProblem& problem : {HeavyCompanions({kPositions, 2}, kPositions),
                                      HeavyCompanions({2, 2, 256, 512}, kPositions)}) {
    for (const size_t chunk : {size_t{1} << 20U, size_t{64} << 20U}) {
      LossRequest request = RequestOf(problem);
      request.transport = Transport::kStream;
      request.chunk_bytes = chunk;
      const auto result = (*client)->Evaluate(request);
      ASSERT_TRUE(result.ok()) << result.status();
      for (const float loss : result->loss.As<float>()) ASSERT_FLOAT_EQ(loss, 0.69314718F);
    }
  }
}

TEST(ClientWeight, ServersThatTakeSmallMessages) {
  ServerOptions options;
  options.max_message_bytes = 65'536;
  TestServer server(options);
  OwnedProblem problem = ManyRows();
  problem.weight = MakeTensor(DType::kFloat32, {300}, std::vector<double>(300, 0.5));
  const auto expected = RunBatch(problem);
  for (const Transport transport : {Transport::kAuto, Transport::kStream}) {
    auto client = Client::Connect(server.tcp());
    LossRequest request = RequestOf(problem);
    request.transport = transport;
    for (int call = 0; call < 2; ++call) {
      const auto result = (*client)->Evaluate(request);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(Difference(ResultsOf(*result), *expected), "");
    }
  }
  // A function gives its bytes once, so the client asks for the server's limit first.
  auto client = Client::Connect(server.tcp());
  LossRequest request = RequestOf(problem);
  request.input.bytes = {};
  request.read_input = [&](uint64_t offset, absl::Span<std::byte> to) {
    std::memcpy(to.data(), problem.input.bytes.data() + offset, to.size());
  };
  auto result = (*client)->Evaluate(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(BytesOf(result->loss), expected->loss);
  // A request with kUnary is refused: the client does not stream it instead.
  request = RequestOf(problem);
  request.transport = Transport::kUnary;
  result = (*client)->Evaluate(request);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted) << result.status();
}

/// Answers and counts calls of GetServerInfo; all other calls are UNIMPLEMENTED.
class Asked final : public v1::LossService::Service {
 public:
  grpc::Status GetServerInfo(grpc::ServerContext* /*context*/,
                             const v1::GetServerInfoRequest* /*request*/,
                             v1::GetServerInfoResponse* response) override {
    ++questions;
    response->mutable_limits()->set_max_message_bytes(4 << 20);
    return grpc::Status::OK;
  }
  std::atomic<int> questions = 0;
};

TEST(ClientWeight, AServerIsAskedOnceAndWhereItMattersOnly) {
  Asked service;
  std::string address;
  const auto server = Serve(&service, &address);
  auto client = Client::Connect(address);
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.transport = Transport::kStream;
  const auto call = [&] {
    EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kUnimplemented);
    return service.questions.load();
  };
  EXPECT_EQ(call(), 0);
  request.chunk_bytes = size_t{2} << 20U;
  EXPECT_EQ(call(), 1);
  EXPECT_EQ(call(), 1);
  // The caller's own GetServerInfo serves as well.
  client = Client::Connect(address);
  ASSERT_TRUE((*client)->GetServerInfo().ok());
  EXPECT_EQ(call(), 2);
  // An invalid request does not make the client ask.
  client = Client::Connect(address);
  request.target.spec.shape = {699};
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(service.questions, 2);
}

TEST(ClientWeight, ChunksOfNothingAreRefused) {
  auto client = Client::Connect("127.0.0.1:1");
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.chunk_bytes = 0;
  const absl::Status status = (*client)->Evaluate(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorDetail(status).field, "chunk_bytes");
}

TEST(ClientWeight, FollowsInMessagesOfEverySize) {
  TestServer server;
  auto client = Client::Connect(server.unix_address());
  size_t cases = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    if (!problem.weight) continue;
    const auto expected = RunBatch(problem);
    const auto raw = CallStream(&server.stub(), problem, 1 + random() % 50, true);
    ASSERT_TRUE(raw.ok()) << "seed " << seed << ": " << raw.status();
    EXPECT_EQ(Difference(*raw, *expected), "") << "seed " << seed;
    LossRequest request = RequestOf(problem);
    request.transport = Transport::kStream;
    request.chunk_bytes = 1 + random() % 50;
    const auto result = (*client)->Evaluate(request);
    ASSERT_TRUE(result.ok()) << "seed " << seed << ": " << result.status();
    EXPECT_EQ(Difference(ResultsOf(*result), *expected), "") << "seed " << seed;
    ++cases;
  }
  EXPECT_GE(cases, 15U);
}

}  // namespace
}  // namespace lossd::testing
