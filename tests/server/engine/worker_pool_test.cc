#include "server/engine/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace lossd {
namespace {

TEST(WorkerPool, RunsEverythingBeforeItEnds) {
  std::atomic<int> runs = 0;
  {
    WorkerPool pool(4);
    for (int q = 0; q < 50; ++q) {
      const auto queue = WorkerPool::NewQueue();
      for (int i = 0; i < 20; ++i) pool.Submit(queue, [&runs](Scratch*) { ++runs; });
    }
  }
  EXPECT_EQ(runs, 1000);
}

TEST(WorkerPool, BeginsTheTasksOfAQueueInOrder) {
  std::vector<int> order;
  {
    WorkerPool pool(1);
    const auto queue = WorkerPool::NewQueue();
    for (int i = 0; i < 100; ++i) pool.Submit(queue, [&order, i](Scratch*) { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(WorkerPool, ASmallRequestPassesABulkOne) {
  std::mutex mutex;
  std::condition_variable go;
  bool started = false;
  int bulk_runs = 0;
  int bulk_runs_before_small = -1;
  {
    WorkerPool pool(1);
    const auto gate = WorkerPool::NewQueue();
    pool.Submit(gate, [&](Scratch*) {
      std::unique_lock<std::mutex> lock(mutex);
      go.wait(lock, [&] { return started; });
    });
    const auto bulk = WorkerPool::NewQueue();
    for (int i = 0; i < 1000; ++i) pool.Submit(bulk, [&bulk_runs](Scratch*) { ++bulk_runs; });
    const auto small = WorkerPool::NewQueue();
    pool.Submit(small, [&](Scratch*) { bulk_runs_before_small = bulk_runs; });
    {
      const std::lock_guard<std::mutex> lock(mutex);
      started = true;
    }
    go.notify_all();
  }
  EXPECT_EQ(bulk_runs, 1000);
  EXPECT_EQ(bulk_runs_before_small, 1) << "one turn of the bulk request, then the small one";
}

}  // namespace
}  // namespace lossd
