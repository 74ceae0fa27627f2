// A clock expires once for each time that it is set, and not after it is stopped or released.
#include "server/engine/idle_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace lossd {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

/// Waits up to five seconds until `count` is `wanted`. Returns whether it is.
bool Reaches(const std::atomic<int>& count, int wanted) {
  const auto end = SteadyClock::now() + std::chrono::seconds(5);
  while (count < wanted && SteadyClock::now() < end) std::this_thread::sleep_for(milliseconds(5));
  return count == wanted;
}

TEST(IdleWatch, RunsOutOnceForEachSetting) {
  IdleWatch watch;
  std::atomic<int> expired = 0;
  const auto clock = watch.NewClock([&] { ++expired; });
  std::this_thread::sleep_for(milliseconds(250));
  EXPECT_EQ(expired, 0) << "nobody has set it";
  const auto begin = SteadyClock::now();
  clock->Set(milliseconds(50));
  EXPECT_TRUE(Reaches(expired, 1));
  EXPECT_GE(SteadyClock::now() - begin, milliseconds(50));
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(expired, 1);
  clock->Set(milliseconds(1));
  EXPECT_TRUE(Reaches(expired, 2));
}

TEST(IdleWatch, PatienceWithoutEnd) {
  IdleWatch watch;
  std::atomic<int> expired = 0;
  const auto one = watch.NewClock([&] { ++expired; });
  const auto two = watch.NewClock([&] { ++expired; });
  one->Set(milliseconds::max());
  // Beyond the range of a clock of nanoseconds.
  two->Set(
      std::chrono::duration_cast<milliseconds>(SteadyClock::time_point::max().time_since_epoch()));
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_EQ(expired, 0);
  one->Set(milliseconds(1));
  EXPECT_TRUE(Reaches(expired, 1));
}

TEST(IdleWatch, StoppedSetAgainOrGone) {
  IdleWatch watch;
  std::atomic<int> stopped = 0;
  std::atomic<int> postponed = 0;
  std::atomic<int> gone = 0;
  const auto one = watch.NewClock([&] { ++stopped; });
  const auto two = watch.NewClock([&] { ++postponed; });
  auto three = watch.NewClock([&] { ++gone; });
  one->Set(milliseconds(300));
  two->Set(milliseconds(300));
  three->Set(milliseconds(300));
  one->Stop();
  two->Set(std::chrono::hours(1));
  three.reset();
  std::this_thread::sleep_for(milliseconds(700));
  EXPECT_EQ(stopped, 0);
  EXPECT_EQ(postponed, 0);
  EXPECT_EQ(gone, 0);
}

// For the thread sanitizer: many threads have clocks that set another clock when they expire. Half
// of the clocks are stopped and released at once, the others are kept until they have expired.
TEST(IdleWatch, ManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kClocks = 50;
  IdleWatch watch;
  std::atomic<int> kept = 0;
  std::atomic<int> chained = 0;
  const auto last = watch.NewClock([&] { ++chained; });
  std::vector<std::shared_ptr<IdleWatch::Clock>> clocks(kThreads * kClocks);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kClocks; ++i) {
        const auto gone = watch.NewClock([] {});
        gone->Set(milliseconds(0));
        gone->Stop();
        auto& clock = clocks[static_cast<size_t>(t * kClocks + i)];
        clock = watch.NewClock([&] {
          ++kept;
          last->Set(milliseconds(0));
        });
        clock->Set(milliseconds(0));
        std::this_thread::sleep_for(milliseconds(4));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Reaches(kept, kThreads * kClocks)) << kept;
  EXPECT_TRUE(Reaches(chained, chained > 0 ? chained.load() : 1));
}

}  // namespace
}  // namespace lossd
