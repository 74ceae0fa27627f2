// A pool for callers without threads of their own.
#ifndef LOSSD_CORE_FORK_JOIN_POOL_H_
#define LOSSD_CORE_FORK_JOIN_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "core/pool.h"
#include "core/rows/kernel.h"

namespace lossd {

/// The calling thread and `threads - 1` more. Idle threads spin for some 50 us before they sleep,
/// so that calls in quick succession find them awake. REQUIRES: one Run at a time.
class ForkJoinPool final : public Pool {
 public:
  /// REQUIRES: threads >= 1.
  explicit ForkJoinPool(int threads);
  ~ForkJoinPool() override;
  void Run(int64_t count, TaskFunction task) override;

 private:
  struct Job {
    TaskFunction task;
    int64_t count;
    std::atomic<int64_t> next{0};
  };

  static void Take(Job* job, Scratch* scratch);
  void Work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  Job* job_ = nullptr;          // Guarded by mutex_; null if there is nothing to join.
  std::atomic<int> joined_{0};  // Threads inside job_; changed under mutex_.
  bool stopping_ = false;
  std::atomic<uint64_t> jobs_{0};  // The number of jobs so far, which idle threads watch.
  Scratch scratch_;                // Of the calling thread.
  std::vector<std::thread> threads_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_FORK_JOIN_POOL_H_
