// Nothing outside a tensor is read or written: each tensor is between two inaccessible pages.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "core/batch.h"
#include "hwy/highway.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

/// Bytes that end where an inaccessible page begins, or begin where one ends.
class GuardedBytes {
 public:
  GuardedBytes(size_t size, bool at_end) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    const size_t inside = (size + page_ - 1) / page_ * page_;
    total_ = inside + 2 * page_;
    void* mapped =
        mmap(nullptr, total_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    base_ = static_cast<std::byte*>(mapped);
    if (mapped == MAP_FAILED || mprotect(base_, page_, PROT_NONE) != 0 ||
        mprotect(base_ + page_ + inside, page_, PROT_NONE) != 0) {
      std::abort();
    }
    data_ = base_ + page_ + (at_end ? inside - size : 0);
  }
  GuardedBytes(const Bytes& bytes, bool at_end) : GuardedBytes(bytes.size(), at_end) {
    if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
  }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  ~GuardedBytes() { munmap(base_, total_); }
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  size_t page_;
  size_t total_ = 0;
  std::byte* base_ = nullptr;
  std::byte* data_ = nullptr;
};

/// Evaluates between guards. Expects the bits of an evaluation in ordinary memory.
void CheckGuarded(const OwnedProblem& problem, bool at_end) {
  const Results expected = *RunBatch(problem);
  const auto plan = problem.plan();
  const OutputSizes sizes = SizesOf(*plan);
  const GuardedBytes input(problem.input.bytes, at_end);
  const GuardedBytes target(problem.target.bytes, at_end);
  const GuardedBytes grad_output(problem.grad_output ? problem.grad_output->bytes : Bytes(),
                                 at_end);
  const GuardedBytes loss(sizes.loss, at_end);
  const GuardedBytes log_sum_exp(sizes.log_sum_exp, at_end);
  const GuardedBytes grad_input(sizes.grad_input, at_end);
  const GuardedBytes grad_target(sizes.grad_target, at_end);
  const GuardedBytes grad_weight(sizes.grad_weight, at_end);
  Operands operands{
      {input.data(), problem.input.bytes.size()}, {target.data(), problem.target.bytes.size()}, {}};
  if (problem.grad_output)
    operands.grad_output = {grad_output.data(), problem.grad_output->bytes.size()};
  const auto wanted = [](const GuardedBytes& bytes, size_t size) {
    return size == 0 ? nullptr : bytes.data();
  };
  const auto summary =
      EvaluateBatch(plan, operands,
                    {wanted(loss, sizes.loss), wanted(log_sum_exp, sizes.log_sum_exp),
                     wanted(grad_input, sizes.grad_input), wanted(grad_target, sizes.grad_target),
                     wanted(grad_weight, sizes.grad_weight)},
                    nullptr);
  ASSERT_TRUE(summary.ok());
  const auto same = [](const auto& got, const Bytes& wanted_bytes, size_t size) {
    return size == 0 || std::memcmp(got.data(), wanted_bytes.data(), size) == 0;
  };
  EXPECT_TRUE(same(loss, expected.loss, sizes.loss));
  EXPECT_TRUE(same(grad_input, expected.grad_input, sizes.grad_input));
  EXPECT_TRUE(same(grad_target, expected.grad_target, sizes.grad_target));
}

TEST(Guard, NoByteBeyondATensorIsTouched) {
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    for (uint64_t seed = 0; seed < 150; ++seed) {
      std::mt19937_64 random(seed);
      CheckGuarded(RandomProblem(&random), seed % 2 == 0);
    }
    for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      for (const int64_t classes : {1, 2, 3, 5, 7, 10, 31, 64, 65, 79, 80, 127, 1000, 1025, 2049}) {
        for (const int64_t rows : {1, 3, 17, 40}) {
          const std::vector<double> x(static_cast<size_t>(rows * classes), 0.25);
          const std::vector<double> labels(static_cast<size_t>(rows), 0.0);
          OwnedProblem problem = MakeIndex(dtype, {rows, classes}, x, labels);
          CheckGuarded(problem, true);
          CheckGuarded(problem, false);
          problem.criterion.cross_entropy().label_smoothing = 0.1;
          CheckGuarded(problem, true);
          problem.target = MakeTensor(dtype, {rows, classes}, x);
          problem.outputs.grad_target = true;
          CheckGuarded(problem, true);
          CheckGuarded(problem, false);
          // Strided classes, with class indices and then with probabilities.
          if (rows == 1) continue;
          problem = MakeIndex(dtype, {1, classes, rows}, x, labels);
          CheckGuarded(problem, true);
          CheckGuarded(problem, false);
          problem.target = MakeTensor(dtype, {1, classes, rows}, x);
          problem.outputs.grad_target = true;
          CheckGuarded(problem, true);
        }
      }
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

// A control: touching a guard ends the process.
TEST(GuardDeathTest, ATouchIsSeen) {
  const GuardedBytes bytes(100, true);
  const auto touch = [&bytes](ptrdiff_t offset) {
    volatile std::byte* at = bytes.data() + offset;
    std::_Exit(std::to_integer<int>(*at));
  };
  EXPECT_EXIT(touch(99), ::testing::ExitedWithCode(0), "");
  EXPECT_DEATH(touch(100), "");
}

}  // namespace
}  // namespace lossd::testing
