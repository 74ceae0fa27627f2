// The lock beside a Unix socket: of several servers that are started on one path, one serves.
#ifndef LOSSD_SERVER_SOCKET_LOCK_H_
#define LOSSD_SERVER_SOCKET_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/listen_address.h"

namespace lossd {

/// Holds PATH.lock by flock, which ends with its process, however that ends. Without it two servers
/// that look at a path at the same time would both find it free, and the later one would take the
/// file of the earlier one away.
class SocketLock {
 public:
  /// UNAVAILABLE where another process holds it, or where the file cannot be made. Does not wait.
  static absl::StatusOr<std::unique_ptr<SocketLock>> Take(const ListenAddress& address);
  /// Takes the file away, and lets go of it.
  ~SocketLock();
  SocketLock(const SocketLock&) = delete;
  SocketLock& operator=(const SocketLock&) = delete;

 private:
  SocketLock(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  const std::string path_;
  const int fd_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_SOCKET_LOCK_H_
