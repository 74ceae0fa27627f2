#include "server/engine/footprint.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "core/problem/error.h"
#include "core/rows/kernel.h"
#include "server/engine/memory_budget.h"
#include "tests/support/session.h"

namespace lossd::testing {
namespace {

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

TEST(Footprint, SumsAndProductsStayAtTheGreatestNumber) {
  EXPECT_EQ(SaturatingAdd(3, 4), 7U);
  EXPECT_EQ(SaturatingAdd(kMost - 1, 2), kMost);
  EXPECT_EQ(SaturatingMultiply(3, 4), 12U);
  EXPECT_EQ(SaturatingMultiply(uint64_t{1} << 33U, uint64_t{1} << 31U), kMost);
}

OwnedProblem Shapes(DType dtype, const Shape& shape, bool soft) {
  OwnedProblem problem;
  problem.input.spec = {dtype, shape};
  problem.target.spec = {soft ? dtype : DType::kUInt32, soft ? shape : Shape{shape[0]}};
  problem.outputs.grad_input = true;
  return problem;
}

// Window, operands and outputs of such a sample take more than 2^64 bytes together: with sums that
// wrap, the sample would be admitted as a small one.
TEST(Footprint, AStreamOfMoreThanTheWorldIsAboveTheLimit) {
  for (const int64_t inner : {int64_t{1} << 39U, int64_t{1} << 40U}) {
    OwnedProblem problem = Shapes(DType::kFloat32, {1, int64_t{1} << 20U, inner}, true);
    problem.outputs.grad_target = true;
    const SessionDriver driver(problem);
    EXPECT_EQ(GetErrorDetail(driver.created()).reason, "MEMORY_LIMIT") << driver.created();
  }
}

TEST(Footprint, WeightsAndTheirCountsAreReserved) {
  constexpr int64_t kClasses = 100'000;
  OwnedProblem problem = Shapes(DType::kFloat32, {1, kClasses}, false);
  SessionDriver without(problem);
  problem.weight = MakeTensor(DType::kFloat32, {kClasses}, std::vector<double>(kClasses, 1.0));
  SessionDriver with(problem);
  ASSERT_TRUE(without.created().ok() && with.created().ok());
  // For each class, its weight as a double and a count of positions.
  EXPECT_EQ(with.budget().used(), without.budget().used() + uint64_t{16} * kClasses);
}

TEST(Footprint, ScratchOfGreatRowsIsReservedForEachThreadThatMayTakeIt) {
  const OwnedProblem small = Shapes(DType::kBFloat16, {8, 1 << 17}, false);
  const OwnedProblem great = Shapes(DType::kBFloat16, {8, 1 << 20}, false);
  const auto small_plan = small.plan();
  const auto great_plan = great.plan();
  EXPECT_EQ(TaskScratchBytes(*small_plan, 8, 4), 0U);  // A worker always keeps this much.
  EXPECT_EQ(TaskScratchBytes(*great_plan, 8, 4), 4 * ScratchBytes(*great_plan));
  EXPECT_EQ(TaskScratchBytes(*great_plan, 3, 4), 3 * ScratchBytes(*great_plan));
  EXPECT_GE(ScratchBytes(*great_plan), uint64_t{8} << 20U);
}

}  // namespace
}  // namespace lossd::testing
