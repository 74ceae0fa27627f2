// If a worker runs out of memory, its stream ends and nothing else does.
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

#include "core/problem/error.h"
#include "tests/support/session.h"

namespace {

/// Aligned allocations (those of Buffer) of this many bytes or more fail.
std::atomic<size_t> refused_from = std::numeric_limits<size_t>::max();

}  // namespace

void* operator new(size_t size, std::align_val_t align) {
  const auto alignment = static_cast<size_t>(align);
  void* memory =
      size >= refused_from
          ? nullptr
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory, std::align_val_t /*align*/) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*size*/, std::align_val_t /*align*/) noexcept {
  std::free(memory);
}

namespace lossd::testing {
namespace {

class OutOfMemoryTest : public ::testing::Test {
 protected:
  ~OutOfMemoryTest() override { refused_from = std::numeric_limits<size_t>::max(); }

  /// Rows of 1 MiB, each with 2 MiB of scratch.
  static OwnedProblem GreatRows() {
    constexpr int64_t kRows = 6;
    constexpr int64_t kClasses = int64_t{1} << 18U;
    return MakeIndex(DType::kFloat32, {kRows, kClasses},
                     std::vector<double>(static_cast<size_t>(kRows * kClasses), 1.0),
                     std::vector<double>(static_cast<size_t>(kRows), 3.0));
  }
};

TEST_F(OutOfMemoryTest, InATaskEndsItsStreamWithATimeToWait) {
  const OwnedProblem problem = GreatRows();
  SessionDriver driver(problem);
  ASSERT_TRUE(driver.created().ok()) << driver.created();
  refused_from = size_t{3} << 19U;
  const Bytes& labels = problem.target.bytes;
  ASSERT_TRUE(driver.session().Append(Operand::kTarget, labels).ok());
  ASSERT_TRUE(
      driver.session().Append(Operand::kInput, {problem.input.bytes.data(), 1 << 20U}).ok());
  ASSERT_TRUE(driver.session().EndMessage().ok());
  ASSERT_TRUE(driver.WaitUntil([&] { return !driver.session().status().ok(); }));
  const absl::Status status = driver.session().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetErrorDetail(status).reason, "MEMORY_BUSY");
  EXPECT_GT(GetErrorDetail(status).retry_after_s, 0);
  EXPECT_FALSE(driver.ended());
}

TEST_F(OutOfMemoryTest, NowhereTheSameStreamEndsWell) {
  const OwnedProblem problem = GreatRows();
  SessionDriver driver(problem);
  ASSERT_TRUE(driver.SendAll(size_t{1} << 20U).ok());
  EXPECT_TRUE(driver.Finish().ok());
  EXPECT_TRUE(driver.session().status().ok());
}

}  // namespace
}  // namespace lossd::testing
