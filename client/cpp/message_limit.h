// The size of messages that a server takes.
#ifndef LOSSD_CLIENT_CPP_MESSAGE_LIMIT_H_
#define LOSSD_CLIENT_CPP_MESSAGE_LIMIT_H_

#include <grpcpp/client_context.h>

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "lossd/v1/service.grpc.pb.h"

namespace lossd {

/// The limit of one server, which is asked for it where that matters only: almost all take four
/// times what a message of ours has unless the caller wants larger ones. Thread-safe.
class MessageLimit {
 public:
  /// What is believed of a server that has not been asked: 1 MiB of tensors and what goes with it.
  static constexpr uint64_t kUsual = (uint64_t{1} << 20U) + 4096;

  /// `stub` must outlive this.
  explicit MessageLimit(v1::LossService::Stub* stub) : stub_(stub) {}

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] bool known() const { return known_; }
  /// Asks the server.
  void Ask(grpc::ClientContext* context);
  /// An answer that somebody got. A server that does not say is left to be what it was believed to
  /// be.
  void Learn(const v1::GetServerInfoResponse& info);

 private:
  v1::LossService::Stub* const stub_;
  std::atomic<uint64_t> bytes_ = kUsual;
  std::atomic<bool> known_ = false;
};

/// Whether gRPC refused a message, or the answer to it, in place of the service, whose own errors
/// say why.
bool RefusedByTransport(const absl::Status& status);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_MESSAGE_LIMIT_H_
