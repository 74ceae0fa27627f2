// One shape to time: rotated buffers of logits, labels and gradients.
#ifndef LOSSD_BENCH_CORE_PROBLEM_H_
#define LOSSD_BENCH_CORE_PROBLEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/pool.h"
#include "core/problem/criterion.h"
#include "core/problem/tensor.h"

namespace lossd::bench {

/// Memory on cache lines, each page touched.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size);
  [[nodiscard]] std::byte* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
};

/// What a problem's target is: labels, labels smoothed by 0.1, or probabilities of the input's
/// type.
enum class Target : uint8_t { kIndex, kSmoothing, kProbabilities };

/// Copies of one random problem's tensors, so many that a copy has left the caches when its turn
/// comes again (some 256 MiB in all, at most 4096 copies).
class BenchProblem {
 public:
  /// Logits from N(0, 4), labels or probabilities uniform. REQUIRES: a shape (N, C, d1..dK).
  BenchProblem(DType dtype, const Shape& shape, Target target);

  /// Runs `what` on the next copy: "loss", "gradient" (the whole call of a library user: plan,
  /// label checks, evaluation), or on the input's bytes "read", "memcpy", "stream" (a copy by
  /// streaming stores). False for any other word.
  bool Run(const std::string& what, Pool* pool);

 private:
  void FillTarget(size_t count);
  void Evaluate(bool gradient, size_t copy, Pool* pool);

  Target target_;
  TensorSpec input_spec_;
  TensorSpec target_spec_;
  size_t input_bytes_ = 0;
  size_t target_bytes_ = 0;
  size_t target_stride_ = 0;  ///< 0 where all copies share one target: labels are few bytes.
  size_t stride_ = 0;         ///< From one copy to the next: the bytes rounded up to cache lines.
  size_t copies_ = 0;
  size_t next_ = 0;
  std::vector<AlignedBytes> memory_;  ///< Inputs, gradients, targets.
  float sink_ = 0;
};

}  // namespace lossd::bench

#endif  // LOSSD_BENCH_CORE_PROBLEM_H_
