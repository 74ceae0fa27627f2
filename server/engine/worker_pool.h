// The project's own threads, which run the tasks of many requests in turn.
#ifndef LOSSD_SERVER_ENGINE_WORKER_POOL_H_
#define LOSSD_SERVER_ENGINE_WORKER_POOL_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/rows/kernel.h"

namespace lossd {

/// A task gets the scratch memory of the thread that runs it. It must not throw or block.
using Task = std::function<void(Scratch*)>;

/// Threads that serve queues round-robin: a queue with a thousand tasks delays a queue with one
/// task by one task per thread, not by a thousand.
class WorkerPool {
 public:
  /// The tasks of one request, started in order. Made by NewQueue.
  class Queue {
    friend class WorkerPool;
    std::deque<Task> tasks_;  // Guarded by the pool's mutex, like all below.
    bool listed_ = false;
    std::shared_ptr<Queue> next_;  // The queue whose turn comes next.
  };

  /// REQUIRES: threads >= 1. Throws std::system_error, and leaves no thread running, if the system
  /// cannot start that many.
  explicit WorkerPool(int threads);
  /// Runs the queued tasks, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  static std::shared_ptr<Queue> NewQueue() { return std::make_shared<Queue>(); }
  /// Thread-safe; returns at once. If it throws std::bad_alloc, the task does not run.
  void Submit(const std::shared_ptr<Queue>& queue, Task task);

  [[nodiscard]] int threads() const { return static_cast<int>(threads_.size()); }

 private:
  void Work();
  /// Lets the threads run the queued tasks, and waits for the threads to end.
  void Join();

  // The queues with tasks form a linked list, so that rotating them allocates no memory.
  void PushTurn(std::shared_ptr<Queue> queue);
  std::shared_ptr<Queue> PopTurn();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<Queue> first_;
  Queue* last_ = nullptr;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_WORKER_POOL_H_
