// Drives a StreamSession as a client would, without gRPC.
#ifndef LOSSD_TESTS_SUPPORT_SESSION_H_
#define LOSSD_TESTS_SUPPORT_SESSION_H_

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "server/engine/stream_session.h"
#include "tests/support/problem.h"

namespace lossd::testing {

/// A session with its own pool and budget. Collects outputs as they come.
class SessionDriver {
 public:
  explicit SessionDriver(const OwnedProblem& problem, const StreamLimits& limits = {},
                         int threads = 2, bool weight_follows = false);
  ~SessionDriver();
  SessionDriver(const SessionDriver&) = delete;
  SessionDriver& operator=(const SessionDriver&) = delete;

  [[nodiscard]] const absl::Status& created() const { return created_; }
  StreamSession& session() { return *session_; }
  MemoryBudget& budget() { return budget_; }

  /// Waits until the session wants operands, and takes replies meanwhile. Then appends bytes
  /// [begin, end) of an operand.
  absl::Status Send(Operand operand, size_t begin, size_t end);
  /// Sends all operands in messages of `chunk` bytes: first a weight that follows, then class
  /// indices, then the rest in step with the input.
  absl::Status SendAll(size_t chunk);
  /// Takes the replies that are ready.
  void TakeReplies();
  /// Takes replies until `done()` is true. Returns false after ten seconds.
  template <typename Condition>
  bool WaitUntil(const Condition& done) {
    for (int i = 0; i < 10000; ++i) {
      TakeReplies();
      if (done()) return true;
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait_for(lock, std::chrono::milliseconds(1), [this] { return progress_; });
      progress_ = false;
    }
    return false;
  }
  /// Closes the session and waits for the last reply.
  absl::Status Finish();

  [[nodiscard]] const Results& results() const { return results_; }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  const OwnedProblem& problem_;
  const bool weight_follows_;
  MemoryBudget budget_{uint64_t{1} << 32U};
  std::unique_ptr<WorkerPool> pool_;
  std::shared_ptr<StreamSession> session_;
  absl::Status created_;
  Results results_;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool progress_ = false;
};

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_SESSION_H_
