#include "server/engine/memory_budget.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "core/problem/error.h"

namespace lossd {
namespace {

TEST(MemoryBudget, GivesBackWhatWasReserved) {
  MemoryBudget budget(100);
  {
    auto first = budget.Reserve(60);
    ASSERT_TRUE(first.ok());
    const MemoryBudget::Reservation moved = *std::move(first);
    EXPECT_EQ(budget.used(), 60U);
  }
  EXPECT_EQ(budget.used(), 0U);
}

TEST(MemoryBudget, SaysWhetherWaitingHelps) {
  MemoryBudget budget(100);
  const auto held = budget.Reserve(60);
  const auto busy = budget.Reserve(50);
  EXPECT_EQ(busy.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorDetail(busy.status()).reason, "MEMORY_BUSY");
  EXPECT_GT(GetErrorDetail(busy.status()).retry_after_s, 0);
  const auto never = budget.Reserve(101);
  EXPECT_EQ(GetErrorDetail(never.status()).reason, "MEMORY_LIMIT");
  EXPECT_EQ(GetErrorDetail(never.status()).retry_after_s, 0);
  EXPECT_NE(never.status().message().find("100"), absl::string_view::npos);
  // Waiting would not help: the request itself holds the memory.
  const auto more = budget.Reserve(41, *held);
  EXPECT_EQ(GetErrorDetail(more.status()).reason, "MEMORY_LIMIT");
  EXPECT_NE(more.status().message().find("101"), absl::string_view::npos);
  EXPECT_TRUE(budget.Reserve(40, *held).ok());
}

TEST(MemoryBudget, ManyThreads) {
  MemoryBudget budget(10);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&budget] {
      for (int i = 0; i < 10000; ++i) {
        const auto reservation = budget.Reserve(3);
        EXPECT_LE(budget.used(), 10U);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace lossd
