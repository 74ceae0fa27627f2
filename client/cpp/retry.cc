#include "client/cpp/retry.h"

#include <random>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lossd {
namespace {

constexpr int kAttempts = 4;
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr int kGrowth = 3;

/// Adds jitter, so that clients that lost one server do not all return at once.
absl::Duration AboutAsLong(absl::Duration pause) {
  static thread_local std::minstd_rand random{std::random_device()()};
  return pause * std::uniform_real_distribution<double>(0.8, 1.2)(random);
}

}  // namespace

absl::Status CallWithRetries(absl::Time deadline, absl::FunctionRef<absl::Status()> attempt) {
  absl::Duration pause = kFirstPause;
  for (int left = kAttempts - 1;; --left, pause *= kGrowth) {
    absl::Status status = attempt();
    if (status.code() != absl::StatusCode::kUnavailable || left == 0) return status;
    const absl::Duration wait = AboutAsLong(pause);
    if (absl::Now() + wait >= deadline) return status;
    absl::SleepFor(wait);
  }
}

}  // namespace lossd
