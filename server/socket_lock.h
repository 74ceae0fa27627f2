// The lock beside a Unix socket: only one of several servers started on the same path serves.
#ifndef LOSSD_SERVER_SOCKET_LOCK_H_
#define LOSSD_SERVER_SOCKET_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/listen_address.h"

namespace lossd {

/// Holds PATH.lock by flock, which ends with the process, however the process ends. Without the
/// lock, two servers that check a path at the same time would both find it free, and the later
/// server would remove the file of the earlier one.
class SocketLock {
 public:
  /// UNAVAILABLE if another process holds the lock, or the file cannot be created. Does not wait.
  static absl::StatusOr<std::unique_ptr<SocketLock>> Take(const ListenAddress& address);
  /// Removes the file, and releases the lock.
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
