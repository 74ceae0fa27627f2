// Leaks 1 KiB at each sendmsg() of a server that loads it by LD_PRELOAD: the control that a test
// for leaks must catch.
#include <dlfcn.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

namespace {

void* volatile last_lost = nullptr;  // Keeps the compiler from removing the allocation.

}  // namespace

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  using Function = ssize_t (*)(int, const msghdr*, int);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "sendmsg"));
  void* lost = std::malloc(1024);
  if (lost != nullptr) std::memset(lost, 1, 1024);
  last_lost = lost;
  return next(socket, message, flags);
}
