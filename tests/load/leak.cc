// Loaded into a server by LD_PRELOAD it leaks 1 KiB with each message that is sent: the control
// that a test for leaks must catch.
#include <dlfcn.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

namespace {

void* volatile last_lost = nullptr;  // Or the compiler would see that nobody needs the memory.

}  // namespace

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  using Function = ssize_t (*)(int, const msghdr*, int);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "sendmsg"));
  void* lost = std::malloc(1024);
  if (lost != nullptr) std::memset(lost, 1, 1024);
  last_lost = lost;
  return next(socket, message, flags);
}
