// The size of messages that a server accepts.
#ifndef LOSSD_CLIENT_CPP_MESSAGE_LIMIT_H_
#define LOSSD_CLIENT_CPP_MESSAGE_LIMIT_H_

#include <grpcpp/client_context.h>

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "lossd/v1/service.grpc.pb.h"

namespace lossd {

/// The message limit of one server. The server is asked for the limit only if the limit matters:
/// unless the caller wants larger messages, almost all servers accept four times the size of ours.
/// Thread-safe.
class MessageLimit {
 public:
  /// Assumed of a server that has not been asked: 1 MiB of tensors and their framing.
  static constexpr uint64_t kUsual = (uint64_t{1} << 20U) + 4096;

  /// `stub` must outlive this.
  explicit MessageLimit(v1::LossService::Stub* stub) : stub_(stub) {}

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] bool known() const { return known_; }
  void Ask(grpc::ClientContext* context);
  /// Takes the limit from a server's reply. A reply without a limit leaves bytes() as it was.
  void Learn(const v1::GetServerInfoResponse& info);

 private:
  v1::LossService::Stub* const stub_;
  std::atomic<uint64_t> bytes_ = kUsual;
  std::atomic<bool> known_ = false;
};

/// Whether gRPC, not the service, refused a message or its reply. The service's own errors carry a
/// reason; gRPC's do not.
bool RefusedByTransport(const absl::Status& status);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_MESSAGE_LIMIT_H_
