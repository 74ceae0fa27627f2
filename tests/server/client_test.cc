// The C++ client with reused results, with requests that are similar to cached ones, and with
// unusual responses.
#include "client/cpp/lossd/client.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lossd/v1/service.grpc.pb.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

TEST(CppClient, ResultsAreUsedAgain) {
  TestServer server;
  const OwnedProblem problem = ManyRows();
  const auto expected = RunBatch(problem);
  auto client = Client::Connect(server.tcp());
  LossRequest request = RequestOf(problem);
  LossResult result;
  const std::byte* memory = nullptr;
  for (const Transport transport : {Transport::kStream, Transport::kUnary, Transport::kStream}) {
    request.transport = transport;
    std::fill(result.grad_input.bytes().begin(), result.grad_input.bytes().end(), std::byte{0xFF});
    ASSERT_TRUE((*client)->EvaluateInto(request, &result).ok());
    EXPECT_EQ(BytesOf(result.grad_input), expected->grad_input);
    if (memory != nullptr) {
      EXPECT_EQ(result.grad_input.bytes().data(), memory);
    }
    memory = result.grad_input.bytes().data();
  }
  request.outputs.grad_input = false;
  ASSERT_TRUE((*client)->EvaluateInto(request, &result).ok());
  EXPECT_TRUE(result.grad_input.bytes().empty());
}

// The cached form of a request is not used for a different request of the same size.
TEST(CppClient, RequestsOfOneSizeAreToldApart) {
  TestServer server;
  auto client = Client::Connect(server.tcp());
  std::vector<OwnedProblem> problems;
  problems.push_back(MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2}));
  const OwnedProblem first = problems.front();
  const auto add = [&](const auto& change) {
    problems.push_back(first);
    change(&problems.back());
  };
  add([](OwnedProblem* other) { other->criterion.reduction = Reduction::kNone; });
  add([](OwnedProblem* other) { other->criterion.cross_entropy().ignore_index = 2; });
  add([](OwnedProblem* other) { other->outputs.log_sum_exp = true; });
  add([](OwnedProblem* other) { other->input.spec = {DType::kFloat32, {3, 2}}; });
  problems.back().criterion.cross_entropy().class_axis = 0;
  add([](OwnedProblem* other) { other->input.spec = {DType::kFloat16, {2, 6}}; });
  add([](OwnedProblem* other) { other->target.spec.dtype = DType::kUInt64; });
  for (const double weight : {1.0, 2.0}) {
    add([weight](OwnedProblem* other) {
      other->weight = MakeTensor(DType::kFloat32, {3}, {weight, 3, 5});
    });
  }
  for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
    add([dtype](OwnedProblem* other) {
      other->input.spec = {DType::kFloat16, {2, 6}};
      other->grad_output = MakeTensor(dtype, {}, {2});
    });
  }
  LossResult result;
  for (size_t i = 1; i < problems.size(); ++i) {
    // Each problem after the first one, which is the most similar to most of them, and after its
    // predecessor.
    for (const size_t index : {size_t{0}, i, size_t{0}, i, i - 1, i}) {
      const OwnedProblem& problem = problems[index];
      LossRequest request = RequestOf(problem);
      const absl::Status status = (*client)->EvaluateInto(request, &result);
      ASSERT_TRUE(status.ok()) << i << ": " << status;
      const auto expected = RunBatch(problem);
      EXPECT_EQ(BytesOf(result.loss), expected->loss) << i;
      EXPECT_EQ(BytesOf(result.log_sum_exp), expected->log_sum_exp) << i;
      EXPECT_EQ(BytesOf(result.grad_input), expected->grad_input) << i;
    }
  }
}

// More bytes of weights than a cached form holds.
TEST(CppClient, ManyWeights) {
  TestServer server;
  auto client = Client::Connect(server.tcp());
  constexpr int64_t kMany = 5000;
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, kMany}, std::vector<double>(kMany), {7});
  for (const double weight : {1.0, 3.0}) {
    std::vector<double> weights(kMany, 2.0);
    weights[7] = weight;
    problem.criterion.reduction = Reduction::kSum;
    problem.weight = MakeTensor(DType::kFloat32, {kMany}, weights);
    LossRequest request = RequestOf(problem);
    const auto result = (*client)->Evaluate(request);
    ASSERT_TRUE(result.ok()) << result.status();
    const auto expected = RunBatch(problem);
    EXPECT_EQ(BytesOf(result->loss), expected->loss);
    EXPECT_EQ(BytesOf(result->grad_input), expected->grad_input);
    EXPECT_EQ(result->summary.weight_digest, expected->summary.weight_digest);
  }
}

/// Responds with `answer`.
class Scripted final : public v1::LossService::Service {
 public:
  grpc::Status Evaluate(grpc::ServerContext* /*context*/, const v1::EvaluateRequest* /*request*/,
                        v1::EvaluateResponse* response) override {
    *response = answer;
    return grpc::Status::OK;
  }
  v1::EvaluateResponse answer;
};

// Responses of another version, and invalid responses.
TEST(CppClient, AnswersThatAreOtherwise) {
  const OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  TestServer lossd;
  grpc::ClientContext context;
  v1::EvaluateResponse good;
  ASSERT_TRUE(lossd.stub().Evaluate(&context, MakeRequest(problem), &good).ok());
  Scripted service;
  std::string address;
  const auto server = Serve(&service, &address);
  auto client = Client::Connect(address);
  const auto call = [&](const v1::EvaluateResponse& answer) {
    service.answer = answer;
    return (*client)->Evaluate(RequestOf(problem));
  };
  const auto expected = RunBatch(problem);
  const auto expect_good = [&](const v1::EvaluateResponse& answer) {
    const auto result = call(answer);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(BytesOf(result->loss), expected->loss);
    EXPECT_EQ(BytesOf(result->grad_input), expected->grad_input);
    EXPECT_EQ(result->summary.loss_sum, expected->summary.loss_sum);
    EXPECT_EQ(result->summary.positions, 2U);
  };
  expect_good(good);
  v1::EvaluateResponse later = good;
  later.GetReflection()->MutableUnknownFields(&later)->AddVarint(99, 1);
  expect_good(later);
  later = good;
  v1::Tensor* const grad = later.mutable_grad_input();
  grad->GetReflection()->MutableUnknownFields(grad)->AddLengthDelimited(50, "later");
  expect_good(later);
  later = good;
  v1::Summary* const summary = later.mutable_summary();
  summary->GetReflection()->MutableUnknownFields(summary)->AddFixed64(60, 1);
  expect_good(later);

  const auto expect_loss = [&](const v1::EvaluateResponse& answer) {
    EXPECT_EQ(call(answer).status().code(), absl::StatusCode::kDataLoss);
  };
  v1::EvaluateResponse bad = good;
  bad.clear_loss();
  expect_loss(bad);
  bad = good;
  bad.clear_summary();
  expect_loss(bad);
  bad = good;
  bad.mutable_grad_input()->mutable_raw()->pop_back();
  expect_loss(bad);
  bad = good;
  bad.mutable_summary()->mutable_loss_sum()->set_units(std::string(100, 'x'));
  expect_loss(bad);
}

/// Counts the holders of a problem during a call.
class Watching final : public v1::LossService::Service {
 public:
  explicit Watching(const std::shared_ptr<const OwnedProblem>& problem) : problem_(problem) {}
  grpc::Status Evaluate(grpc::ServerContext* /*context*/, const v1::EvaluateRequest* request,
                        v1::EvaluateResponse* /*response*/) override {
    holders = problem_.use_count();
    input_bytes = request->input().raw().size();
    return {grpc::INVALID_ARGUMENT, "only watched"};
  }
  std::atomic<int64_t> holders = 0;
  std::atomic<size_t> input_bytes = 0;

 private:
  const std::shared_ptr<const OwnedProblem>& problem_;
};

TEST(CppClient, LendsLargeTensorsThatHaveAnOwner) {
  const auto problem = std::make_shared<const OwnedProblem>(ManyRows());
  Watching service(problem);
  std::string address;
  const auto server = Serve(&service, &address);
  auto client = Client::Connect(address);
  LossRequest request = RequestOf(*problem);
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(service.holders, 1);
  request.owner = problem;
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(service.holders, 3);  // This test, the request, and the bytes being sent.
  EXPECT_EQ(service.input_bytes, problem->input.bytes.size());

  TestServer lossd;
  client = Client::Connect(lossd.tcp());
  const auto result = (*client)->Evaluate(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Difference(ResultsOf(*result), *RunBatch(*problem)), "");
}

}  // namespace
}  // namespace lossd::testing
