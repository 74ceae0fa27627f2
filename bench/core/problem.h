// One shape to time, with rotating buffers of logits, targets and gradients.
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

/// Memory aligned to cache lines, with every page touched.
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

/// The target: class indices, class indices with label smoothing 0.1, or probabilities of the
/// input's type.
enum class Target : uint8_t { kIndex, kSmoothing, kProbabilities };

/// Copies of the tensors of one random problem. There are so many copies that one has left the
/// caches before its next turn: about 256 MiB of logits, at least 2 and at most 4096 copies.
class BenchProblem {
 public:
  /// Logits come from N(0, 4); labels or probabilities are uniform. REQUIRES: `shape` is
  /// (N, C, d1, ..., dK).
  BenchProblem(DType dtype, const Shape& shape, Target target);

  /// Runs `what` on the next copy. "loss" and "gradient" time the whole call of a library user:
  /// plan, label checks, evaluation. "read", "memcpy" and "stream" (a copy with streaming stores)
  /// time the input's bytes. Returns false for any other word.
  bool Run(const std::string& what, Pool* pool);

 private:
  void FillTarget(size_t count);
  void Evaluate(bool gradient, size_t copy, Pool* pool);

  Target target_;
  TensorSpec input_spec_;
  TensorSpec target_spec_;
  size_t input_bytes_ = 0;
  size_t target_bytes_ = 0;
  size_t target_stride_ = 0;  ///< 0 if all copies share one target: class indices are few bytes.
  size_t stride_ = 0;         ///< Bytes of one copy of the input, rounded up to cache lines.
  size_t copies_ = 0;
  size_t next_ = 0;
  std::vector<AlignedBytes> memory_;  ///< Inputs, gradients, targets.
  float sink_ = 0;
};

}  // namespace lossd::bench

#endif  // LOSSD_BENCH_CORE_PROBLEM_H_
