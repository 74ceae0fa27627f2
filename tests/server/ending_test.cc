// A call that ends early, by its deadline or a cancel, releases its threads and memory within 50
// ms, whatever it was doing.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

using Clock = std::chrono::steady_clock;
using Stream = grpc::ClientReaderWriter<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>;

/// The state of a stream when it is ended.
enum class State : uint8_t { kBeforeHeader, kMidTarget, kMidInput, kMidWrite, kHalfClosed };

constexpr int64_t kRows = 20000;
constexpr int64_t kClasses = 100;
constexpr size_t kChunk = size_t{256} << 10U;

OwnedProblem Rows(int64_t rows) {
  std::vector<double> logits(static_cast<size_t>(rows * kClasses), 1.0);
  OwnedProblem problem = MakeIndex(DType::kFloat32, {rows, kClasses}, logits,
                                   std::vector<double>(static_cast<size_t>(rows), 3.0));
  problem.outputs.grad_input = true;
  return problem;
}

#ifdef __SANITIZE_ADDRESS__
constexpr std::chrono::milliseconds kPromise{500};
#else
constexpr std::chrono::milliseconds kPromise{50};
#endif

class Ending : public ::testing::TestWithParam<State> {
 protected:
  /// Brings the stream to the state. Reads nothing, so that any replies pile up.
  void Advance(Stream* stream) {
    const State state = GetParam();
    if (state == State::kBeforeHeader) return;
    const auto bytes = [](const std::vector<std::byte>& of, size_t begin, size_t count) {
      return std::string(reinterpret_cast<const char*>(of.data()) + begin,
                         std::min(count, of.size() - begin));
    };
    v1::EvaluateStreamRequest message;
    *message.mutable_header() = MakeHeader(problem_);
    const size_t labels = problem_.target.bytes.size();
    message.set_target(bytes(problem_.target.bytes, 0, state == State::kMidTarget ? 800 : labels));
    ASSERT_TRUE(stream->Write(message));
    // The input has 8 MB. The replies to a quarter of it can be sent; the replies to all of it
    // would overfill the peer's window.
    const size_t all = problem_.input.bytes.size();
    size_t end = 0;
    if (state == State::kMidInput) end = all / 8;
    if (state == State::kMidWrite) end = all / 2;
    if (state == State::kHalfClosed) end = all / 4;
    for (size_t at = 0; at < end; at += kChunk) {
      message.Clear();
      message.set_input(bytes(problem_.input.bytes, at, kChunk));
      if (!stream->Write(message)) return;
    }
    if (state == State::kHalfClosed) stream->WritesDone();
  }

  /// Waits until the server holds memory for the call, if it does so in this state.
  void WaitUntilHeld() {
    const auto end = Clock::now() + std::chrono::milliseconds(300);
    const bool holds = GetParam() != State::kBeforeHeader && GetParam() != State::kHalfClosed;
    while (holds && server_.server().memory_used() == 0 && Clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (holds) {
      EXPECT_GT(server_.server().memory_used(), 0U);
    }
  }

  /// Returns the time from `since` until the server holds no memory.
  std::chrono::milliseconds UntilFree(Clock::time_point since) {
    while (server_.server().memory_used() != 0 && Clock::now() - since < std::chrono::seconds(5)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since);
  }

  OwnedProblem problem_ = Rows(kRows);
  TestServer server_;
};

// The best of three, because other programs use the machine too.
TEST_P(Ending, ByCancel) {
  auto best = std::chrono::milliseconds(10000);
  for (int i = 0; i < 3; ++i) {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = server_.stub().EvaluateStream(&context);
    Advance(stream.get());
    WaitUntilHeld();
    const auto begin = Clock::now();
    context.TryCancel();
    const grpc::StatusCode code = stream->Finish().error_code();
    if (GetParam() != State::kHalfClosed) {
      EXPECT_EQ(code, grpc::CANCELLED);
    }
    best = std::min(best, UntilFree(begin));
  }
  EXPECT_LT(best, kPromise);
  EXPECT_TRUE(CallUnary(&server_.stub(), Rows(10)).ok());
}

TEST_P(Ending, ByDeadline) {
  auto best = std::chrono::milliseconds(10000);
  for (int i = 0; i < 3; ++i) {
    grpc::ClientContext context;
    const auto patience = std::chrono::milliseconds(400);
    const auto begin = Clock::now();
    context.set_deadline(std::chrono::system_clock::now() + patience);
    const auto stream = server_.stub().EvaluateStream(&context);
    Advance(stream.get());
    WaitUntilHeld();
    std::this_thread::sleep_until(begin + patience);
    const auto time = UntilFree(begin + patience);
    const grpc::StatusCode code = stream->Finish().error_code();
    if (GetParam() != State::kHalfClosed) {
      EXPECT_EQ(code, grpc::DEADLINE_EXCEEDED);
    }
    best = std::min(best, time);
  }
  EXPECT_LT(best, kPromise);
  EXPECT_TRUE(CallUnary(&server_.stub(), Rows(10)).ok());
}

std::string NameOf(const ::testing::TestParamInfo<State>& state) {
  constexpr const char* kNames[] = {"BeforeHeader", "MidTarget", "MidInput", "MidWrite",
                                    "HalfClosed"};
  return kNames[static_cast<size_t>(state.param)];
}

INSTANTIATE_TEST_SUITE_P(AllStates, Ending,
                         ::testing::Values(State::kBeforeHeader, State::kMidTarget,
                                           State::kMidInput, State::kMidWrite, State::kHalfClosed),
                         NameOf);

/// Calls whose bytes have all been received and whose computation is queued. All of it takes about
/// a second, because logits out of the range of the float32 passes and weight gradients are slow.
class EndingInQueue : public ::testing::Test {
 protected:
  static constexpr int kCalls = 40;

  static ServerOptions OneThread() {
    ServerOptions options;
    options.threads = 1;
    options.max_message_bytes = uint64_t{16} << 20U;
    return options;
  }

  EndingInQueue() : server_(OneThread()) {
    constexpr int64_t kMany = 10000;
    problem_ = MakeIndex(DType::kBFloat16, {kMany, kClasses},
                         std::vector<double>(static_cast<size_t>(kMany * kClasses), 2000.0),
                         std::vector<double>(static_cast<size_t>(kMany), 3.0));
    problem_.outputs.grad_input = true;
    problem_.criterion.cross_entropy().label_smoothing = 0.1;
    problem_.weight = MakeTensor(DType::kBFloat16, {kClasses},
                                 std::vector<double>(static_cast<size_t>(kClasses), 0.75));
    problem_.outputs.grad_weight = true;
    request_ = MakeRequest(problem_);
  }

  /// Cancels all calls as soon as `arrived()` is true.
  template <typename Call, typename Arrived>
  void Check(const Call& call, const Arrived& arrived) {
    for (grpc::ClientContext& context : contexts_) {
      SetDeadline(&context);
      threads_.emplace_back([&call, &context] { call(&context); });
    }
    const auto end = Clock::now() + std::chrono::seconds(20);
    while (!arrived() && Clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(arrived());
    const auto begin = Clock::now();
    for (grpc::ClientContext& context : contexts_) context.TryCancel();
    EXPECT_TRUE(server_.MemoryIsBack());
    EXPECT_LT(Clock::now() - begin, 4 * kPromise);
    for (std::thread& thread : threads_) thread.join();
  }

  TestServer server_;
  OwnedProblem problem_;
  v1::EvaluateRequest request_;
  std::array<grpc::ClientContext, kCalls> contexts_;
  std::vector<std::thread> threads_;
};

TEST_F(EndingInQueue, OfOneMessage) {
  // A call holds its message and its gradient once the whole message is here: this much memory is
  // held by half of the calls.
  const uint64_t wanted = kCalls * problem_.input.bytes.size();
  Check(
      [this](grpc::ClientContext* context) {
        v1::EvaluateResponse response;
        server_.stub().Evaluate(context, request_, &response);
      },
      [this, wanted] { return server_.server().memory_used() >= wanted; });
}

TEST_F(EndingInQueue, OfAStream) {
  std::atomic<int> sent = 0;
  Check(
      [this, &sent](grpc::ClientContext* context) {
        const auto stream = server_.stub().EvaluateStream(context);
        v1::EvaluateStreamRequest message;
        *message.mutable_header() = MakeHeader(problem_);
        message.set_target(request_.target().raw());
        stream->Write(message);
        message.Clear();
        message.set_input(request_.input().raw());
        stream->Write(message);
        stream->WritesDone();
        ++sent;
        v1::EvaluateStreamResponse reply;
        while (stream->Read(&reply)) {
        }
        stream->Finish();
      },
      [&sent] { return sent == kCalls; });
}

}  // namespace
}  // namespace lossd::testing
