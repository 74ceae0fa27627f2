#include "core/fork_join_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>

#include "hwy/cache_control.h"

namespace lossd {
namespace {

constexpr std::chrono::microseconds kSpin{50};

/// Spins for a while until `done` holds, because sleeping and being woken cost more than a short
/// task.
template <typename Done>
void SpinUntil(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  while (!done() && std::chrono::steady_clock::now() < end) hwy::Pause();
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
  job_ = nullptr;  // Nobody joins any more; threads that have joined are waited for.
  const auto idle = [this] { return joined_.load(std::memory_order_acquire) == 0; };
  lock.unlock();
  SpinUntil(idle);
  lock.lock();
  idle_.wait(lock, idle);
}

void ForkJoinPool::Work() {
  Scratch scratch;
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    lock.unlock();
    SpinUntil([&] { return jobs_.load(std::memory_order_acquire) != seen; });
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
