// Every conformance vector over real sockets: as a unary call, in a pipelined stream, as a stream
// of chunks, and with the C++ client. Each gives the same bits as core.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "client/cpp/lossd/client.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"
#include "tests/support/vectors.h"

namespace lossd::testing {
namespace {

class ServiceConformance : public ::testing::Test {
 protected:
  TestServer server_;
};

void ExpectSame(const Vector& vector, const absl::StatusOr<Results>& results) {
  ASSERT_TRUE(results.ok()) << vector.name << ": " << results.status();
  EXPECT_EQ(Check(vector, *results), "") << vector.name;
  EXPECT_EQ(Difference(*results, *RunBatch(vector.problem)), "") << vector.name;
}

TEST_F(ServiceConformance, Unary) {
  for (const Vector& vector : AllVectors()) {
    // The server recognizes the second request by its form.
    for (int i = 0; i < 2; ++i) ExpectSame(vector, CallUnary(&server_.stub(), vector.problem));
  }
  EXPECT_TRUE(server_.MemoryIsBack());
}

TEST_F(ServiceConformance, Many) {
  std::vector<const OwnedProblem*> problems;
  for (const Vector& vector : AllVectors()) problems.insert(problems.end(), 2, &vector.problem);
  const auto answers = CallMany(&server_.stub(), problems);
  for (size_t i = 0; i < problems.size(); ++i) ExpectSame(AllVectors()[i / 2], answers[i]);
  EXPECT_TRUE(server_.MemoryIsBack());
}

TEST_F(ServiceConformance, Stream) {
  size_t number = 0;
  for (const Vector& vector : AllVectors()) {
    // Every twentieth vector in chunks of every size, the others in one size each, in turn.
    const std::vector<size_t> sizes = {1, 3, 7, 4096, size_t{1} << 20U};
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (number % 20 != 0 && number % sizes.size() != i) continue;
      ExpectSame(vector, CallStream(&server_.stub(), vector.problem, sizes[i]));
    }
    ++number;
  }
  EXPECT_TRUE(server_.MemoryIsBack());
}

TEST_F(ServiceConformance, CppClient) {
  const auto client = Client::Connect(server_.unix_address());
  ASSERT_TRUE(client.ok()) << client.status();
  const auto call = [&](const Vector& vector, const LossRequest& request) {
    const auto got = (*client)->Evaluate(request);
    ASSERT_TRUE(got.ok()) << vector.name << ": " << got.status();
    ExpectSame(vector, ResultsOf(*got));
  };
  for (const Vector& vector : AllVectors()) {
    for (const Transport transport : {Transport::kUnary, Transport::kUnary, Transport::kStream}) {
      LossRequest request = RequestOf(vector.problem);
      request.transport = transport;
      request.chunk_bytes = 16;
      call(vector, request);
    }
    // With lent bytes.
    const auto owned = std::make_shared<const OwnedProblem>(vector.problem);
    LossRequest request = RequestOf(*owned);
    request.owner = owned;
    request.transport = Transport::kStream;
    request.chunk_bytes = 24;
    call(vector, request);
  }
}

// A tensor large enough for many units and tasks, in chunks of every size.
TEST_F(ServiceConformance, LargeStreamGivesTheBitsOfTheUnaryCall) {
  std::mt19937_64 random(31);
  std::normal_distribution<double> normal(0, 3);
  OwnedProblem problem;
  problem.outputs.grad_input = true;
  problem.criterion.cross_entropy().label_smoothing = 0.1;
  std::vector<double> x(900 * 1000);
  for (double& value : x) value = normal(random);
  std::vector<double> labels(900);
  for (double& label : labels) label = static_cast<double>(random() % 1000);
  problem.input = MakeTensor(DType::kFloat32, {900, 1000}, x);
  problem.target = MakeTensor(DType::kInt32, {900}, labels);
  const auto unary = CallUnary(&server_.stub(), problem);
  ASSERT_TRUE(unary.ok()) << unary.status();
  for (const size_t chunk : {4097U, 65536U, 1U << 20U, 3U << 20U}) {
    const auto stream = CallStream(&server_.stub(), problem, chunk);
    ASSERT_TRUE(stream.ok()) << stream.status();
    EXPECT_EQ(Difference(*stream, *unary), "") << chunk;
  }
}

}  // namespace
}  // namespace lossd::testing
