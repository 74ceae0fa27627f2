#include "server/flag_table.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace lossd {
namespace {

constexpr uint64_t kKiB = uint64_t{1} << 10U;
constexpr uint64_t kGiB = uint64_t{1} << 30U;
constexpr uint64_t kPiB = uint64_t{1} << 50U;
constexpr int64_t kMaxSeconds = 1'000'000;  // Eleven days; gRPC counts milliseconds in 31 bits.

// Limits of calls, connections and problems.
std::vector<FlagEntry> Limits() {
  return {
      {"max-memory", "Bytes that all calls in flight may hold",
       ByteCount{kKiB * kKiB, kPiB, [](Settings* s) { return &s->server.max_memory_bytes; }}},
      {"max-message-bytes", "Bytes of one received message; larger tensors are streamed",
       ByteCount{64 * kKiB, kGiB, [](Settings* s) { return &s->server.max_message_bytes; }}},
      {"max-label-bytes", "Bytes that the class indices of one stream may take",
       ByteCount{1, kPiB, [](Settings* s) { return &s->server.stream_limits.max_label_bytes; }}},
      {"max-concurrent-streams", "Calls of one connection at a time",
       WholeNumber{1, 100'000, [](Settings* s) { return &s->server.max_concurrent_streams; }}},
      {"max-rank", "Rank of a tensor",
       WholeNumber{1, 1024, [](Settings* s) { return &s->server.plan_limits.max_rank; }}},
      {"max-classes", "Classes of a problem",
       WholeNumber{1, int64_t{1} << 30U,
                   [](Settings* s) { return &s->server.plan_limits.max_classes; }}},
      {"max-positions", "Positions of a problem",
       WholeNumber{1, int64_t{1} << 50U,
                   [](Settings* s) { return &s->server.plan_limits.max_positions; }}},
  };
}

// How long connections and streams may take.
std::vector<FlagEntry> Times() {
  return {
      {"handshake-timeout", "Seconds that a connection may take until its first HTTP/2 settings",
       SecondCount{kMaxSeconds, true, [](Settings* s) { return &s->server.handshake_timeout; }}},
      {"header-wait", "Seconds that a stream may wait for its first message",
       SecondCount{kMaxSeconds, true, [](Settings* s) { return &s->server.header_wait; }}},
      {"idle-stream", "Seconds that a stream may go without a byte read or written",
       SecondCount{kMaxSeconds, true, [](Settings* s) { return &s->server.idle_stream; }}},
      {"message-wait", "Seconds that the message of a unary call may take",
       SecondCount{kMaxSeconds, true, [](Settings* s) { return &s->server.message_wait; }}},
      {"max-connection-age", "Seconds after which a connection is asked to go",
       SecondCount{kMaxSeconds, true, [](Settings* s) { return &s->server.max_connection_age; }}},
      {"max-connection-age-grace", "Seconds that calls of such a connection may go on",
       SecondCount{kMaxSeconds, true,
                   [](Settings* s) { return &s->server.max_connection_age_grace; }}},
      {"max-connection-idle", "Seconds that a connection without calls is kept",
       SecondCount{kMaxSeconds, true, [](Settings* s) { return &s->server.max_connection_idle; }}},
      {"shutdown-grace", "Seconds to go on serving after SIGTERM, while health says NOT_SERVING",
       SecondCount{3600, false, [](Settings* s) { return &s->shutdown_grace; }}},
      {"drain-timeout", "Seconds that calls in flight get to end after the grace period",
       SecondCount{3600, false, [](Settings* s) { return &s->drain_timeout; }}},
  };
}

std::vector<FlagEntry> AllFlags() {
  std::vector<FlagEntry> flags = {
      {"listen", "Addresses to listen on, several with commas between them or the flag repeated",
       Addresses{[](Settings* s) { return &s->server.listen; }}},
      {"threads", "Worker threads; 0: one for each core",
       WholeNumber{0, 1024, [](Settings* s) { return &s->server.threads; }}},
  };
  for (auto& flag : Limits()) flags.push_back(std::move(flag));
  for (auto& flag : Times()) flags.push_back(std::move(flag));
  flags.push_back({"reflection", "Offer gRPC server reflection",
                   Switch{[](Settings* s) { return &s->server.reflection; }}});
  flags.push_back({"log-level", "Least level of the lines on stderr",
                   OneOf{{"debug", "info", "warn", "error", "off"},
                         [](Settings* s) { return &s->log_level; }}});
  return flags;
}

}  // namespace

const std::vector<FlagEntry>& FlagTable() {
  static const auto* const table = new std::vector<FlagEntry>(AllFlags());
  return *table;
}

const FlagEntry* FindFlag(absl::string_view name) {
  const auto& table = FlagTable();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const FlagEntry& flag) { return flag.name == name; });
  return found == table.end() ? nullptr : &*found;
}

std::string VariableName(absl::string_view flag) {
  return absl::StrCat("LOSSD_", absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

}  // namespace lossd
