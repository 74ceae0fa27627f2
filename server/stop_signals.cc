#include "server/stop_signals.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <system_error>

namespace lossd {
namespace {

// A signal handler may touch only lock-free atomics and a descriptor. Signals belong to the
// process, so there is one of each.
std::atomic<bool> keeping = false;  // NOLINT(*-avoid-non-const-global-variables)
std::atomic<int> kept = 0;          // NOLINT(*-avoid-non-const-global-variables)
std::atomic<int> wake_up_fd = -1;   // NOLINT(*-avoid-non-const-global-variables)
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void OnSignal(int signal) {
  int none = 0;
  if (!keeping || !kept.compare_exchange_strong(none, signal)) _exit(128 + signal);
  const int before = errno;
  const uint64_t one = 1;
  // The write cannot fail: the counter is far from full.
  [[maybe_unused]] const auto written = write(wake_up_fd, &one, sizeof(one));
  errno = before;
}

}  // namespace

void WatchStopSignals() {
  wake_up_fd = eventfd(0, EFD_CLOEXEC);
  if (wake_up_fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  struct sigaction action {};
  action.sa_handler = OnSignal;  // NOLINT(*-union-access)
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  // A parent process may have blocked or ignored the signals.
  sigset_t both;
  sigemptyset(&both);
  for (const int signal : {SIGTERM, SIGINT}) {
    sigaction(signal, &action, nullptr);
    sigaddset(&both, signal);
  }
  pthread_sigmask(SIG_UNBLOCK, &both, nullptr);
}

void KeepFirstStopSignal() { keeping = true; }

int WaitForStopSignal() {
  uint64_t count = 0;
  while (read(wake_up_fd, &count, sizeof(count)) < 0 && errno == EINTR) {
  }
  return kept;
}

}  // namespace lossd
