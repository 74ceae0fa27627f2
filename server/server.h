// A lossd server: listeners, services and the threads behind them, in one object.
#ifndef LOSSD_SERVER_SERVER_H_
#define LOSSD_SERVER_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/problem/plan.h"
#include "server/engine/stream_session.h"

namespace lossd {

/// An infinite duration means that there is no limit.
struct ServerOptions {
  /// HOST:PORT (port 0: any free one) or unix:PATH; at least one.
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  /// Worker threads; 0: one for each core.
  int threads = 0;
  /// Bytes that all calls in flight may hold: a quarter is gRPC's quota for bytes that it has read
  /// and not handed over, the rest is for computing. Below 256 MiB gRPC gets 64 MiB on top.
  uint64_t max_memory_bytes = uint64_t{1} << 30U;
  /// Bytes of one received message.
  uint64_t max_message_bytes = uint64_t{4} << 20U;
  /// Streams of one connection at a time.
  int max_concurrent_streams = 100;
  /// How long a connection may take to send its HTTP/2 settings; then it is closed.
  absl::Duration handshake_timeout = absl::Seconds(10);
  /// How long a stream may wait for its first message; then it ends with DEADLINE_EXCEEDED.
  absl::Duration header_wait = absl::Seconds(10);
  /// How long a stream may go without a byte read or written; then it ends with DEADLINE_EXCEEDED.
  absl::Duration idle_stream = absl::Seconds(60);
  /// How long the message of a call of one message may take; then the call ends with
  /// DEADLINE_EXCEEDED. The peer may take as long to take the answer; then the call is cancelled.
  absl::Duration message_wait = absl::Seconds(60);
  /// Age at which a connection is asked to go, and how long its calls may go on after that.
  absl::Duration max_connection_age = absl::InfiniteDuration();
  absl::Duration max_connection_age_grace = absl::Minutes(10);
  /// How long a connection without calls is kept.
  absl::Duration max_connection_idle = absl::Minutes(10);
  bool reflection = true;
  PlanLimits plan_limits;
  StreamLimits stream_limits;
};

/// Several may live in one process.
class Server {
 public:
  /// Listens and serves. INVALID_ARGUMENT for an address that cannot be parsed, UNAVAILABLE, with
  /// the cause, for an address that is not available; the message names the address.
  /// RESOURCE_EXHAUSTED if the system cannot start the threads. Never waits for anybody.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  /// Shuts down without a grace period.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The addresses in force, the chosen ports filled in.
  [[nodiscard]] const std::vector<std::string>& addresses() const { return addresses_; }
  /// Bytes that calls in flight hold now.
  [[nodiscard]] uint64_t memory_used() const;
  /// Calls that are served now. A call also counts while work begun for it is not over yet.
  [[nodiscard]] int64_t calls_in_flight() const;
  [[nodiscard]] int threads() const;

  /// Health says NOT_SERVING from now on; calls are still served.
  void StopAdvertising();
  /// Takes no new calls; waits up to `drain` for the calls in flight that compute, then ends all
  /// that is open. Does not wait for health watches and reflection streams.
  void Shutdown(absl::Duration drain);

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  static absl::StatusOr<std::unique_ptr<Server>> StartWith(const ServerOptions& options,
                                                           int threads);
  std::unique_ptr<Parts> parts_;
  std::vector<std::string> addresses_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SERVER_H_
