// Loaded into a server by LD_PRELOAD it leaks 1 KiB with each message that is sent: the control
// that a test for leaks must catch.
#include <dlfcn.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  using Function = ssize_t (*)(int, const msghdr*, int);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "sendmsg"));
  void* lost = std::malloc(1024);
  if (lost != nullptr) std::memset(lost, 1, 1024);
  return next(socket, message, flags);
}
