#include "server/engine/worker_pool.h"

#include <memory>
#include <mutex>
#include <utility>

#include "core/rows/kernel.h"

namespace lossd {

WorkerPool::WorkerPool(int threads) {
  threads_.reserve(static_cast<size_t>(threads));
  try {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
  } catch (...) {
    // Destroying a joinable std::thread terminates the process.
    Join();
    throw;
  }
}

WorkerPool::~WorkerPool() { Join(); }

void WorkerPool::Join() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Submit(const std::shared_ptr<Queue>& queue, Task task) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue->tasks_.push_back(std::move(task));
    if (!queue->listed_) {
      queue->listed_ = true;
      PushTurn(queue);
    }
  }
  wake_.notify_one();
}

void WorkerPool::PushTurn(std::shared_ptr<Queue> queue) {
  Queue* const last = queue.get();
  (first_ == nullptr ? first_ : last_->next_) = std::move(queue);
  last_ = last;
}

std::shared_ptr<WorkerPool::Queue> WorkerPool::PopTurn() {
  std::shared_ptr<Queue> queue = std::move(first_);
  first_ = std::move(queue->next_);
  return queue;
}

void WorkerPool::Work() {
  Scratch scratch;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || first_ != nullptr; });
    if (first_ == nullptr) return;
    std::shared_ptr<Queue> queue = PopTurn();
    Task task = std::move(queue->tasks_.front());
    queue->tasks_.pop_front();
    if (queue->tasks_.empty()) {
      queue->listed_ = false;
    } else {
      PushTurn(queue);
    }
    lock.unlock();
    task(&scratch);
    // Destroy the task before taking the lock: it may be the last owner of a request.
    task = nullptr;
    queue.reset();
    lock.lock();
  }
}

}  // namespace lossd
