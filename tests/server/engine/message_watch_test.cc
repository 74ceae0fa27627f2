// A call that waits too long for its peer ends. If too many calls wait, the oldest ones end.
#include "server/engine/message_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace lossd {
namespace {

using std::chrono::milliseconds;
using For = MessageWatch::For;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kForever = milliseconds::max();

struct Caller final : MessageWatch::Waiting {
  explicit Caller(MessageWatch* whose) : watch(*whose) {}
  ~Caller() override { watch.Leave(&ticket); }
  void OnLate() override { ++late; }
  void OnCrowded() override {
    ++crowded;
    ++all_crowded;
  }

  static std::atomic<size_t> all_crowded;

  MessageWatch& watch;
  MessageWatch::Ticket ticket;
  std::atomic<int> late = 0;
  std::atomic<int> crowded = 0;
};

std::atomic<size_t> Caller::all_crowded = 0;

std::vector<std::shared_ptr<Caller>> Callers(MessageWatch* watch, size_t count, For what) {
  std::vector<std::shared_ptr<Caller>> callers;
  for (size_t i = 0; i < count; ++i) {
    callers.push_back(std::make_shared<Caller>(watch));
    watch->Enter(callers.back(), what, &callers.back()->ticket);
  }
  return callers;
}

size_t Crowded(const std::vector<std::shared_ptr<Caller>>& callers) {
  return static_cast<size_t>(
      std::ranges::count_if(callers, [](const auto& caller) { return caller->crowded == 1; }));
}

template <typename Condition>
bool Soon(const Condition& condition) {
  const auto end = SteadyClock::now() + std::chrono::seconds(5);
  while (!condition() && SteadyClock::now() < end) std::this_thread::sleep_for(milliseconds(5));
  return condition();
}

TEST(MessageWatch, LateOnceForEachWait) {
  IdleWatch clocks;
  MessageWatch watch(&clocks, milliseconds(300), {[] { return uint64_t{0}; }, 1});
  const auto begin = SteadyClock::now();
  const auto caller = Callers(&watch, 1, For::kMessage).front();
  EXPECT_TRUE(Soon([&] { return caller->late == 1; }));
  EXPECT_GE(SteadyClock::now() - begin, milliseconds(300));
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(caller->late, 1);
  watch.Enter(caller, For::kTaking, &caller->ticket);
  EXPECT_TRUE(Soon([&] { return caller->late == 2; }));
}

TEST(MessageWatch, EnteringAgainGivesAllOfThePatience) {
  IdleWatch clocks;
  MessageWatch watch(&clocks, milliseconds(600), {[] { return uint64_t{0}; }, 1});
  const auto both = Callers(&watch, 2, For::kMessage);
  std::this_thread::sleep_for(milliseconds(400));
  watch.Enter(both[0], For::kTaking, &both[0]->ticket);
  EXPECT_TRUE(Soon([&] { return both[1]->late == 1; }));
  EXPECT_EQ(both[0]->late, 0);
  EXPECT_TRUE(Soon([&] { return both[0]->late == 1; }));
}

TEST(MessageWatch, NotAfterItHasLeft) {
  IdleWatch clocks;
  MessageWatch watch(&clocks, milliseconds(100), {[] { return uint64_t{0}; }, 1});
  const auto both = Callers(&watch, 2, For::kMessage);
  watch.Leave(&both[0]->ticket);
  EXPECT_TRUE(Soon([&] { return both[1]->late == 1; }));
  EXPECT_EQ(both[0]->late, 0);
}

TEST(MessageWatch, PatienceWithoutEnd) {
  IdleWatch clocks;
  MessageWatch watch(&clocks, kForever, {[] { return uint64_t{0}; }, 1});
  const auto caller = Callers(&watch, 1, For::kMessage).front();
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_EQ(caller->late, 0);
}

// The calls that are left hold 10 each.
TEST(MessageWatch, TheOldestOfACrowdEnd) {
  IdleWatch clocks;
  Caller::all_crowded = 0;
  MessageWatch watch(&clocks, kForever, {[] { return 10 * (20 - Caller::all_crowded); }, 150});
  const auto taking = Callers(&watch, 10, For::kTaking);
  const auto messages = Callers(&watch, 20, For::kMessage);
  EXPECT_TRUE(Soon([&] { return Crowded(messages) > 0; }));
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(Crowded(messages), 13U) << "seven hold 70, at most half of 150";
  for (size_t i = 0; i < messages.size(); ++i) EXPECT_EQ(messages[i]->crowded, i < 13 ? 1 : 0) << i;
  EXPECT_EQ(Crowded(taking), 0U);
}

TEST(MessageWatch, FewAreNoCrowd) {
  IdleWatch clocks;
  MessageWatch watch(&clocks, kForever, {[] { return uint64_t{1000}; }, 150});
  const auto messages = Callers(&watch, 7, For::kMessage);
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_EQ(Crowded(messages), 0U);
}

TEST(MessageWatch, GoesWhileItLooks) {
  IdleWatch clocks;
  for (int i = 0; i < 30; ++i) {
    MessageWatch watch(&clocks, milliseconds(1), {[] { return uint64_t{0}; }, 1});
    const auto callers = Callers(&watch, 50, For::kMessage);
    std::this_thread::sleep_for(milliseconds(95 + i % 10));
  }
}

}  // namespace
}  // namespace lossd
