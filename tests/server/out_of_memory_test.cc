// A machine with less memory than the budget: the call whose allocation fails ends with
// MEMORY_BUSY, in any of its reactions, and no other call ends.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "core/problem/error.h"
#include "proto/codec/status_bridge.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace {

/// Whether allocations for tensors fail. Only tensors use aligned allocations.
std::atomic<bool> none_left = false;

}  // namespace

void* operator new(size_t size, std::align_val_t alignment) {
  const auto unit = static_cast<size_t>(alignment);
  void* const memory =
      none_left ? nullptr : std::aligned_alloc(unit, (size + unit - 1) / unit * unit);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  std::free(memory);
}

namespace lossd::testing {
namespace {

OwnedProblem Weighted() {
  constexpr int64_t kRows = 100;
  constexpr int64_t kClasses = 20;
  OwnedProblem problem =
      MakeIndex(DType::kFloat32, {kRows, kClasses}, std::vector<double>(kRows * kClasses, 1.0),
                std::vector<double>(kRows, 3.0));
  problem.outputs.grad_input = false;
  problem.weight = MakeTensor(DType::kFloat32, {kClasses}, std::vector<double>(kClasses, 0.5));
  problem.outputs.grad_weight = true;
  return problem;
}

std::string Raw(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class OutOfMemoryTest : public ::testing::Test {
 protected:
  void TearDown() override {
    none_left = false;
    const auto next = CallUnary(&server_.stub(), Weighted());
    EXPECT_TRUE(next.ok()) << next.status();
    EXPECT_TRUE(server_.MemoryIsBack());
    for (int i = 0; i < 5000 && server_.server().calls_in_flight() > 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(server_.server().calls_in_flight(), 0);
  }

  /// The status of a stream whose memory runs out after `sent` messages.
  absl::Status RunStream(size_t sent) {
    const OwnedProblem problem = Weighted();
    std::vector<v1::EvaluateStreamRequest> messages(2);
    *messages[0].mutable_header() = MakeHeader(problem);
    messages[0].set_target(Raw(problem.target.bytes));
    messages[1].set_input(Raw(problem.input.bytes));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    const auto stream = server_.stub().EvaluateStream(&context);
    for (size_t i = 0; i <= messages.size(); ++i) {
      if (i == sent) {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        none_left = true;
      }
      if (i < messages.size()) stream->Write(messages[i]);
    }
    stream->WritesDone();
    v1::EvaluateStreamResponse reply;
    while (stream->Read(&reply)) {
    }
    return FromGrpc(stream->Finish());
  }

  TestServer server_;
};

void ExpectBusy(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetErrorDetail(status).reason, "MEMORY_BUSY") << status;
  EXPECT_GT(GetErrorDetail(status).retry_after_s, 0) << status;
}

TEST_F(OutOfMemoryTest, AStreamAtItsHeader) { ExpectBusy(RunStream(0)); }
TEST_F(OutOfMemoryTest, AStreamAtItsInput) { ExpectBusy(RunStream(1)); }
// Everything has been evaluated, but there is no memory for the weight gradient.
TEST_F(OutOfMemoryTest, AStreamAtItsLastReply) { ExpectBusy(RunStream(2)); }

}  // namespace
}  // namespace lossd::testing
