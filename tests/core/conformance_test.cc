// Runs every conformance vector through core.
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <string>

#include "core/problem/criterion.h"
#include "tests/support/problem.h"
#include "tests/support/vectors.h"

namespace lossd::testing {
namespace {

TEST(CoreConformance, EveryVector) {
  size_t cases = 0;
  for (const Vector& vector : AllVectors()) {
    const auto results = RunBatch(vector.problem);
    ASSERT_TRUE(results.ok()) << vector.name << ": " << results.status();
    EXPECT_EQ(Check(vector, *results), "") << vector.name;
    ++cases;
  }
  EXPECT_GE(cases, 600U);
}

TEST(CoreConformance, EveryCriterionHasVectors) {
  std::map<std::string, size_t> counts;
  for (const Vector& vector : AllVectors()) {
    ++counts[std::string(vector.problem.criterion.kind_name())];
  }
  for (const std::string& name : KindNames()) EXPECT_GE(counts[name], 100U) << name;
}

// A control: the comparison notices a slightly wrong result.
TEST(CoreConformance, CheckCanFail) {
  size_t noticed = 0;
  for (Vector vector : AllVectors()) {
    if (vector.loss.empty() || !(vector.loss[0] > 0.01)) continue;
    vector.loss[0] *= 1.00001;
    noticed += Check(vector, *RunBatch(vector.problem)).empty() ? 0 : 1;
  }
  EXPECT_GT(noticed, 400U);
}

}  // namespace
}  // namespace lossd::testing
