#include "core/pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>

namespace lossd {
namespace {

constexpr std::chrono::microseconds kSpin{50};

/// Waits a while for `jobs` to leave `seen`.
void SpinWhileEqual(const std::atomic<uint64_t>& jobs, uint64_t seen) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  while (jobs.load(std::memory_order_acquire) == seen && std::chrono::steady_clock::now() < end) {
  }
}

}  // namespace

ForkJoinPool::ForkJoinPool(int threads) {
  for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

ForkJoinPool::~ForkJoinPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    jobs_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ForkJoinPool::Take(Job* job, Scratch* scratch) {
  for (;;) {
    const int64_t index = job->next.fetch_add(1, std::memory_order_relaxed);
    if (index >= job->count) return;
    job->task(index, scratch);
  }
}

void ForkJoinPool::Run(int64_t count, TaskFunction task) {
  Job job{task, count};
  const bool shared = count > 1 && !threads_.empty();
  if (shared) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      jobs_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
  }
  Take(&job, &scratch_);
  if (!shared) return;
  std::unique_lock<std::mutex> lock(mutex_);
  job_ = nullptr;  // Nobody joins any more; who has is waited for.
  idle_.wait(lock, [this] { return joined_ == 0; });
}

void ForkJoinPool::Work() {
  Scratch scratch;
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    lock.unlock();
    SpinWhileEqual(jobs_, seen);
    lock.lock();
    wake_.wait(lock, [&] { return jobs_.load(std::memory_order_acquire) != seen; });
    seen = jobs_.load(std::memory_order_acquire);
    if (stopping_) return;
    if (job_ == nullptr) continue;
    Job* job = job_;
    ++joined_;
    lock.unlock();
    Take(job, &scratch);
    lock.lock();
    if (--joined_ == 0) idle_.notify_all();
  }
}

}  // namespace lossd
