// Evaluation of a whole problem that lies in memory, cut into tasks that any threads may run.
#ifndef LOSSD_CORE_BATCH_H_
#define LOSSD_CORE_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/labels/labels.h"
#include "core/pool.h"
#include "core/problem/plan.h"
#include "core/rows/kernel.h"
#include "core/sums/class_sums.h"
#include "core/sums/summary.h"

namespace lossd {

/// The tensors of a problem, little-endian bytes at any alignment. They must outlive the
/// evaluation.
struct Operands {
  absl::Span<const std::byte> input;
  absl::Span<const std::byte> target;
  absl::Span<const std::byte> grad_output;  ///< Where the plan has one.
};

/// Bytes of each output that a plan asks for; 0 for one that it does not.
struct OutputSizes {
  size_t loss = 0;
  size_t log_sum_exp = 0;
  size_t grad_input = 0;
  size_t grad_target = 0;
  size_t grad_weight = 0;
};
OutputSizes SizesOf(const Plan& plan);

/// Memory for the outputs, of just those sizes; null where the size is 0 and nothing is wanted.
struct OutputBuffers {
  std::byte* loss = nullptr;
  std::byte* log_sum_exp = nullptr;
  std::byte* grad_input = nullptr;
  std::byte* grad_target = nullptr;
  std::byte* grad_weight = nullptr;
};

/// One evaluation. Create, RunTask for every task in any order on any threads, then Finish once.
///
///     auto batch = BatchEvaluation::Create(plan, operands, outputs);
///     Scratch scratch;
///     for (int64_t i = 0; i < (*batch)->tasks(); ++i) (*batch)->RunTask(i, &scratch);
///     Summary summary = (*batch)->Finish();
class BatchEvaluation {
 public:
  /// Checks byte counts and labels (INVALID_ARGUMENT names the field); computes nothing else. Many
  /// labels are checked by all threads of `pool`, if given.
  static absl::StatusOr<std::unique_ptr<BatchEvaluation>> Create(std::shared_ptr<const Plan> plan,
                                                                 const Operands& operands,
                                                                 const OutputBuffers& outputs,
                                                                 Pool* pool = nullptr);

  [[nodiscard]] int64_t tasks() const { return tasks_; }
  void RunTask(int64_t index, Scratch* scratch);
  /// Reduces; writes a reduced loss and the weight gradient. REQUIRES: every task has been run.
  Summary Finish();

 private:
  BatchEvaluation(std::shared_ptr<const Plan> plan, const Operands& operands,
                  const OutputBuffers& outputs);

  std::shared_ptr<const Plan> plan_;
  OutputBuffers outputs_;
  Slab slab_;
  std::optional<Labels> labels_;
  std::optional<ClassSums> class_sums_;
  RowContext context_;
  double grad_output_ = 1.0;
  int64_t tasks_ = 0;
  int64_t positions_per_task_ = 1;
  std::mutex mutex_;
  RowTotals totals_;  // Guarded by mutex_ while tasks run.
};

/// The whole evaluation, its tasks shared over `pool`; null: on the calling thread. A problem of
/// one task runs inline. Errors are Create's.
absl::StatusOr<Summary> EvaluateBatch(std::shared_ptr<const Plan> plan, const Operands& operands,
                                      const OutputBuffers& outputs, Pool* pool);

/// Positions of one task, at least 1: about 128 KiB of input, less where positions cost more than
/// their logits.
int64_t PositionsPerTask(const Plan& plan);

/// Writes a scalar loss of the plan's loss type.
void StoreReducedLoss(const Plan& plan, const Summary& summary, std::byte* to);

}  // namespace lossd

#endif  // LOSSD_CORE_BATCH_H_
