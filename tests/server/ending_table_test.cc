// Nothing is left of a call that has ended, for every method, every state of a call and every way
// to end it.
#include <dirent.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "tests/support/problem.h"
#include "tests/support/raw_http2.h"
#include "tests/support/service.h"

namespace lossd::testing {
namespace {

using Clock = std::chrono::steady_clock;

enum class Method : uint8_t { kSmall, kLarge, kMany, kStream, kCombine };
enum class State : uint8_t { kBeforeFirst, kMidTarget, kMidInput, kWaiting, kLent, kHalfClosed };
enum class End : uint8_t { kOk, kError, kCancel, kDeadline, kIdle, kKilled, kDrain };

constexpr std::array<const char*, 5> kMethods = {"Evaluate, small", "Evaluate, large",
                                                 "EvaluateMany", "EvaluateStream", "Combine"};
constexpr std::array<const char*, 6> kPaths = {"Evaluate", "Evaluate", "EvaluateMany",
                                               "EvaluateStream", "Combine"};
constexpr std::array<const char*, 6> kStates = {
    "before the first message", "mid-target",   "mid-input",
    "answers waiting",          "answers lent", "half-closed"};
constexpr std::array<const char*, 7> kEnds = {"OK",   "error",  "cancel", "deadline",
                                              "idle", "killed", "drain"};

OwnedProblem Rows(int64_t rows, int64_t classes, bool gradient) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {rows, classes},
                                   std::vector<double>(static_cast<size_t>(rows * classes), 1.0),
                                   std::vector<double>(static_cast<size_t>(rows), 0.0));
  problem.criterion.reduction = Reduction::kNone;
  problem.outputs.grad_input = gradient;
  return problem;
}

std::string Raw(const Bytes& bytes, size_t begin, size_t end) {
  return {reinterpret_cast<const char*>(bytes.data()) + begin, end - begin};
}

/// The bytes that bring a call to a state, and the bytes that end it.
struct Script {
  std::string sent = {};
  std::string rest = {};  ///< Ends the call with OK.
  std::string bad = {};   ///< Ends the call with an error; empty if nothing can any more.
  bool last = false;      ///< The client half-closes after `sent`.
  bool shut = false;      ///< The client accepts no answers.
  bool holds = false;     ///< The server holds memory in this state.
};

/// The script of a unary call.
std::optional<Script> Unary(State state, const std::string& plain, const std::string& lent) {
  const size_t half = plain.size() / 2;
  switch (state) {
    case State::kBeforeFirst:
      return Script{"", plain, Framed("\xff")};
    case State::kMidInput:
      return Script{plain.substr(0, half), plain.substr(half),
                    plain.substr(half, plain.size() - half - 1)};
    case State::kWaiting:
      return Script{.sent = plain, .shut = true};
    case State::kLent:
      if (lent.empty()) return std::nullopt;
      return Script{.sent = lent, .shut = true, .holds = true};
    case State::kHalfClosed:
      return Script{.sent = plain, .last = true, .shut = true};
    default:
      return std::nullopt;
  }
}

std::string FramedRequest(const OwnedProblem& problem) {
  return Framed(MakeRequest(problem).SerializeAsString());
}

std::string ManyOf(const OwnedProblem& problem, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    v1::EvaluateManyRequest message;
    message.set_id(static_cast<uint64_t>(i));
    *message.mutable_request() = MakeRequest(problem);
    bytes += Framed(message.SerializeAsString());
  }
  return bytes;
}

std::optional<Script> Many(State state) {
  const std::string one = ManyOf(Rows(100, 100, true), 1);
  const size_t half = one.size() / 2;
  const std::string bad = Framed("\xff");
  constexpr int kSeveral = 24;
  switch (state) {
    case State::kBeforeFirst:
      return Script{"", one, bad};
    case State::kMidInput:
      return Script{one + one.substr(0, half), one.substr(half),
                    one.substr(half, one.size() - half - 1)};
    case State::kWaiting:
      return Script{.sent = ManyOf(Rows(8, 10, false), kSeveral), .bad = bad, .shut = true};
    case State::kLent:
      return Script{
          .sent = ManyOf(Rows(100, 100, true), kSeveral), .bad = bad, .shut = true, .holds = true};
    case State::kHalfClosed:
      return Script{.sent = ManyOf(Rows(100, 100, true), kSeveral),
                    .last = true,
                    .shut = true,
                    .holds = true};
    default:
      return std::nullopt;
  }
}

std::optional<Script> Stream(State state) {
  // The gradient has 800 kB, a little less than the stream's window.
  const OwnedProblem problem = Rows(2000, 100, state != State::kWaiting);
  const size_t labels = problem.target.bytes.size();
  const size_t all = problem.input.bytes.size();
  const auto target = [&](size_t begin, size_t end, bool header) {
    v1::EvaluateStreamRequest message;
    if (header) *message.mutable_header() = MakeHeader(problem);
    message.set_target(Raw(problem.target.bytes, begin, end));
    return Framed(message.SerializeAsString());
  };
  const auto input = [&](size_t begin, size_t end) {
    v1::EvaluateStreamRequest message;
    message.set_input(Raw(problem.input.bytes, begin, end));
    return Framed(message.SerializeAsString());
  };
  const std::string bad = Framed("\xff");
  const std::string begun = target(0, labels, true);
  switch (state) {
    case State::kBeforeFirst:
      return Script{"", begun + input(0, all), bad};
    case State::kMidTarget:
      return Script{.sent = target(0, 800, true),
                    .rest = target(800, labels, false) + input(0, all),
                    .bad = bad,
                    .holds = true};
    case State::kMidInput:
      return Script{.sent = begun + input(0, all / 4),
                    .rest = input(all / 4, all),
                    .bad = bad,
                    .holds = true};
    case State::kWaiting:
    case State::kLent:
      return Script{.sent = begun + input(0, all), .bad = bad, .shut = true, .holds = true};
    case State::kHalfClosed:
      return Script{.sent = begun + input(0, all), .last = true, .shut = true, .holds = true};
  }
  return std::nullopt;
}

std::string FramedCombine() {
  const OwnedProblem problem = Rows(8, 10, false);
  const auto response = MakeResponse(problem, *RunBatch(problem));
  v1::CombineRequest request;
  for (int i = 0; i < 20; ++i) *request.add_summaries() = response.summary();
  return Framed(request.SerializeAsString());
}

std::optional<Script> ScriptOf(Method method, State state) {
  switch (method) {
    case Method::kSmall:
      return Unary(state, FramedRequest(Rows(8, 10, false)), FramedRequest(Rows(60, 100, true)));
    case Method::kLarge:
      return Unary(state, FramedRequest(Rows(300, 1000, false)),
                   FramedRequest(Rows(100, 1000, true)));
    case Method::kMany:
      return Many(state);
    case Method::kStream:
      return Stream(state);
    case Method::kCombine:
      return Unary(state, FramedCombine(), "");
  }
  return std::nullopt;
}

ServerOptions OptionsFor(End end) {
  ServerOptions options;
  if (end != End::kIdle) return options;
  options.header_wait = absl::Milliseconds(200);
  options.idle_stream = absl::Milliseconds(200);
  options.message_wait = absl::Milliseconds(200);
  return options;
}

template <typename Condition>
bool WaitFor(const Condition& condition, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// If gRPC misses a reset, the server's ping finds it 10 s later.
constexpr std::chrono::seconds kFreed{15};

bool IsFree(Server* server) { return server->memory_used() == 0 && server->calls_in_flight() == 0; }

/// Ends the call that `script` has brought to its state. Returns false if `end` is unknown.
bool EndCall(End end, const Script& script, uint32_t stream, RawConnection* connection,
             Server* server) {
  constexpr std::chrono::milliseconds kPatience{10'000};
  switch (end) {
    case End::kOk:
      connection->OpenWindows(stream);
      if (!script.last) connection->Send(stream, script.rest, true);
      EXPECT_TRUE(connection->AwaitEnd(stream, kPatience));
      return true;
    case End::kError:
      connection->Send(stream, script.bad, true);
      connection->OpenWindows(stream);
      EXPECT_TRUE(connection->AwaitEnd(stream, kPatience));
      return true;
    case End::kCancel:
      connection->Reset(stream);
      return true;
    case End::kDeadline:
    case End::kIdle:
      return true;  // The server ends the call by itself.
    case End::kKilled:
      connection->Cut();
      return true;
    case End::kDrain:
      server->Shutdown(absl::Milliseconds(50));
      return true;
  }
  return false;
}

/// Whether the call of `script` can end so.
bool CanEnd(const Script& script, End end) { return end != End::kError || !script.bad.empty(); }

/// The memory and calls that are left after a call: "0" if none, "-" if there is no such call.
std::string Cell(Method method, State state, End end, TestServer* server) {
  const auto script = ScriptOf(method, state);
  if (!script || !CanEnd(*script, end)) return "-";
  Server& served = server->server();
  constexpr uint32_t kWide = 1U << 30U;
  RawConnection connection(server->tcp(), script->shut ? 0 : kWide);
  const uint32_t stream =
      connection.Begin(kPaths[static_cast<size_t>(method)], end == End::kDeadline ? "250m" : "");
  EXPECT_TRUE(connection.Send(stream, script->sent, script->last));
  if (script->holds) {
    EXPECT_TRUE(WaitFor([&] { return served.memory_used() > 0; }, std::chrono::seconds(2)));
  }
  // Let the call go on until it waits for the client.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(EndCall(end, *script, stream, &connection, &served));
  if (WaitFor([&] { return IsFree(&served); }, kFreed)) return "0";
  return absl::StrCat(served.memory_used(), " B, ", served.calls_in_flight());
}

using Row = std::array<std::string, kEnds.size()>;

/// The cells of all states and ends of a method.
std::array<Row, kStates.size()> RowsOf(Method method) {
  std::array<Row, kStates.size()> rows;
  for (size_t end = 0; end < kEnds.size(); ++end) {
    std::unique_ptr<TestServer> server;
    for (size_t state = 0; state < kStates.size(); ++state) {
      // A server that was shut down, or is not free, is of no use for the next call.
      const auto which = static_cast<End>(end);
      if (server == nullptr || which == End::kDrain || !IsFree(&server->server())) {
        server = std::make_unique<TestServer>(OptionsFor(which));
      }
      rows[state][end] = Cell(method, static_cast<State>(state), which, server.get());
    }
  }
  return rows;
}

TEST(EndingTable, NothingIsLeft) {
  std::array<std::array<Row, kStates.size()>, kMethods.size()> table;
  std::vector<std::thread> threads;
  for (size_t method = 0; method < kMethods.size(); ++method) {
    threads.emplace_back([&table, method] { table[method] = RowsOf(static_cast<Method>(method)); });
  }
  for (std::thread& thread : threads) thread.join();
  std::cout << absl::StrFormat("%-17s%-26s", "method", "state");
  for (const char* end : kEnds) std::cout << absl::StrFormat("%-10s", end);
  std::cout << "\n";
  for (size_t method = 0; method < kMethods.size(); ++method) {
    for (size_t state = 0; state < kStates.size(); ++state) {
      std::cout << absl::StrFormat("%-17s%-26s", kMethods[method], kStates[state]);
      for (size_t end = 0; end < kEnds.size(); ++end) {
        const std::string& left = table[method][state][end];
        std::cout << absl::StrFormat("%-10s", left);
        EXPECT_TRUE(left == "0" || left == "-")
            << kMethods[method] << ", " << kStates[state] << ", " << kEnds[end] << ": " << left;
      }
      std::cout << "\n";
    }
  }
}

int OpenFiles() {
  int count = 0;
  DIR* const files = opendir("/proc/self/fd");
  while (readdir(files) != nullptr) ++count;
  closedir(files);
  return count;
}

#ifndef __SANITIZE_ADDRESS__
int64_t ResidentBytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * 4096;
}
#endif

// Each round holds 1 MB of answers that nobody reads.
TEST(EndingTable, RoundAfterRoundNothingGrows) {
  TestServer server;
  const Script script = *Many(State::kLent);
  const auto round = [&](int i) {
    RawConnection connection(server.tcp(), 0);
    const uint32_t stream = connection.Begin("EvaluateMany");
    ASSERT_TRUE(connection.Send(stream, script.sent, false));
    ASSERT_TRUE(
        WaitFor([&] { return server.server().memory_used() > 500'000; }, std::chrono::seconds(5)));
    if (i % 2 == 0) connection.Reset(stream);
    connection.Cut();
    ASSERT_TRUE(WaitFor([&] { return IsFree(&server.server()); }, kFreed))
        << "round " << i << " left " << server.server().memory_used() << " bytes";
  };
  constexpr int kWarm = 40;
  for (int i = 0; i < kWarm && !HasFatalFailure(); ++i) round(i);
  const int files = OpenFiles();
#ifndef __SANITIZE_ADDRESS__
  const int64_t before = ResidentBytes();
#endif
  for (int i = 0; i < 200 && !HasFatalFailure(); ++i) round(i);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_LT(ResidentBytes() - before, int64_t{16} << 20U);
#endif
  EXPECT_TRUE(WaitFor([&] { return OpenFiles() <= files + 2; }, kFreed))
      << OpenFiles() << " files are open, " << files << " were";
}

// gRPC misses a few resets in a thousand.
TEST(EndingTable, ResetsBehindBytes) {
  ServerOptions options;
  options.header_wait = absl::InfiniteDuration();
  TestServer server(options);
  for (int i = 0; i < 500; ++i) {
    RawConnection connection(server.tcp(), 0);
    connection.Begin("EvaluateStream");
    connection.CutBehindBytes();
  }
  EXPECT_TRUE(WaitFor([&] { return IsFree(&server.server()); }, kFreed))
      << server.server().calls_in_flight() << " calls are left";
}

}  // namespace
}  // namespace lossd::testing
