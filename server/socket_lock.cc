#include "server/socket_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

/// Whether the file at `path` is the open one. The last holder may have removed the file before we
/// got the lock, and a lock on a removed file excludes nobody.
bool IsAt(const std::string& path, int fd) {
  struct stat there {};
  struct stat open {};
  return stat(path.c_str(), &there) == 0 && fstat(fd, &open) == 0 && there.st_dev == open.st_dev &&
         there.st_ino == open.st_ino;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SocketLock>> SocketLock::Take(const ListenAddress& address) {
  const std::string path = absl::StrCat(address.path, ".lock");
  while (true) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
      const int error = errno;
      // The folder is missing: the error is the same as it would be without a lock.
      if (error == ENOENT) return CannotListen(address, std::strerror(error));
      return CannotListen(address, absl::StrCat(path, ": ", std::strerror(error)));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      close(fd);
      return CannotListen(address, error == EWOULDBLOCK
                                       ? absl::StrCat("another lossd holds ", path)
                                       : absl::StrCat(path, ": ", std::strerror(error)));
    }
    if (IsAt(path, fd)) return std::unique_ptr<SocketLock>(new SocketLock(path, fd));
    close(fd);
  }
}

SocketLock::~SocketLock() {
  if (IsAt(path_, fd_)) unlink(path_.c_str());
  close(fd_);
}

}  // namespace lossd
