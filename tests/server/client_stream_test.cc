// The C++ client's streams: tensors that are not in memory or are lent, and calls that end while
// tensors are sent.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/error.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

/// Waits up to five seconds until nobody else holds `held`. Returns whether that is so.
template <typename T>
bool ComesBack(const std::shared_ptr<T>& held) {
  for (int i = 0; i < 5000 && held.use_count() > 1; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return held.use_count() == 1;
}

/// Accepts one connection, opens all windows, and reads nothing.
class Deaf {
 public:
  Deaf() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(local);
    auto* const name = reinterpret_cast<sockaddr*>(&local);  // NOLINT(*-cast)
    EXPECT_EQ(bind(listener_, name, size), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    EXPECT_EQ(getsockname(listener_, name, &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(local.sin_port));
    thread_ = std::thread([this] {
      connection_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      // SETTINGS with an initial window of 2^31 - 1, and as large a window for the connection.
      constexpr char kFrames[] =
          "\0\0\6\4\0\0\0\0\0"
          "\0\4\x7f\xff\xff\xff"
          "\0\0\4\10\0\0\0\0\0"
          "\x7f\xff\0\0";
      EXPECT_EQ(write(connection_, kFrames, sizeof(kFrames) - 1),
                static_cast<ssize_t>(sizeof(kFrames) - 1));
    });
  }
  ~Deaf() {
    HangUp();
    close(listener_);
  }
  Deaf(const Deaf&) = delete;
  Deaf& operator=(const Deaf&) = delete;

  [[nodiscard]] const std::string& address() const { return address_; }
  void HangUp() {
    if (thread_.joinable()) thread_.join();
    if (connection_ >= 0) close(connection_);
    connection_ = -1;
  }

 private:
  const int listener_;
  int connection_ = -1;
  std::string address_;
  std::thread thread_;
};

TEST(CppClientStream, InputFromAFunctionGradientToAFunction) {
  TestServer server;
  const OwnedProblem problem = ManyRows();
  const auto expected = RunBatch(problem);
  LossRequest request = RequestOf(problem);
  request.input.bytes = {};
  request.chunk_bytes = 10007;  // Cuts within elements.
  uint64_t next = 0;
  request.read_input = [&](uint64_t offset, absl::Span<std::byte> to) {
    EXPECT_EQ(offset, next);
    EXPECT_LE(to.size(), request.chunk_bytes);
    std::memcpy(to.data(), problem.input.bytes.data() + offset, to.size());
    next += to.size();
  };
  std::vector<std::byte> gradient;
  request.take_grad_input = [&](absl::Span<const std::byte> bytes) {
    gradient.insert(gradient.end(), bytes.begin(), bytes.end());
  };
  auto client = Client::Connect(server.tcp());
  const auto result = (*client)->Evaluate(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(next, problem.input.bytes.size());
  EXPECT_EQ(BytesOf(result->loss), expected->loss);
  EXPECT_EQ(gradient, expected->grad_input);
  EXPECT_TRUE(result->grad_input.bytes().empty());
}

// The refusal stops the writer. A cancel of ours would hide the refusal.
TEST(CppClientStream, ARefusedStreamKeepsItsStatus) {
  ServerOptions options;
  options.max_memory_bytes = 100'000;
  TestServer server(options);
  auto client = Client::Connect(server.tcp());
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.transport = Transport::kStream;
  for (int i = 0; i < 200; ++i) {
    const auto result = (*client)->Evaluate(request);
    ASSERT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted) << result.status();
    ASSERT_EQ(GetErrorDetail(result.status()).reason, "MEMORY_LIMIT");
  }
}

// The memory of a stream is free before its client learns of the end, so that clients whose streams
// fit the budget never cause each other's refusal.
TEST(CppClientStream, StreamsOneAfterTheOtherFitTheBudget) {
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.transport = Transport::kStream;
  ServerOptions options;
  // Enough for two streams with their gradients and labels, and for half of a third.
  options.max_memory_bytes = 5 * problem.input.bytes.size();
  TestServer server(options);
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      auto client = Client::Connect(server.tcp());
      LossResult result;
      for (int call = 0; call < 200; ++call) {
        const absl::Status status = (*client)->EvaluateInto(request, &result);
        ASSERT_TRUE(status.ok()) << call << ": " << status;
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST(CppClientStream, LendsWhatHasAnOwner) {
  TestServer server;
  auto client = Client::Connect(server.unix_address());
  const auto problem = std::make_shared<const OwnedProblem>(ManyRows());
  const auto expected = RunBatch(*problem);
  LossRequest request = RequestOf(*problem);
  request.transport = Transport::kStream;
  request.chunk_bytes = 10007;
  request.owner = problem;
  const auto result = (*client)->Evaluate(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Difference(ResultsOf(*result), *expected), "");
  request = {};
  EXPECT_TRUE(ComesBack(problem));
}

TEST(CppClientStream, ReturnsWhenItsFunctionsAreNoLongerRun) {
  TestServer server;
  ClientOptions options;
  options.timeout = absl::Milliseconds(100);
  auto client = Client::Connect(server.tcp(), options);
  const OwnedProblem problem = ManyRows();
  LossRequest request = RequestOf(problem);
  request.input.bytes = {};
  request.chunk_bytes = 100'000;
  std::atomic<bool> inside = false;
  request.read_input = [&](uint64_t /*offset*/, absl::Span<std::byte> to) {
    inside = true;
    std::fill(to.begin(), to.end(), std::byte{0});
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    inside = false;
  };
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(inside);
}

// gRPC holds unwritten bytes until the connection ends, and so it holds their owner.
TEST(CppClientStream, OwnersOutliveACallThatIsStuck) {
  Deaf server;
  ClientOptions options;
  options.timeout = absl::Seconds(1);
  auto client = Client::Connect(server.address(), options);
  const auto problem = std::make_shared<const OwnedProblem>(
      MakeIndex(DType::kFloat32, {1, 8'000'000}, std::vector<double>(8'000'000, 1.0), {3}));
  LossRequest request = RequestOf(*problem);
  request.owner = problem;
  EXPECT_EQ((*client)->Evaluate(request).status().code(), absl::StatusCode::kDeadlineExceeded);
  request = {};
  EXPECT_GT(problem.use_count(), 1);
  EXPECT_EQ((*client)->GetServerInfo().status().code(), absl::StatusCode::kDeadlineExceeded);
  server.HangUp();
  EXPECT_TRUE(ComesBack(problem));
}

}  // namespace
}  // namespace lossd::testing
