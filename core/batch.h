// Evaluates a whole problem in memory, cut into tasks that any threads may run.
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

/// The tensors of a problem: little-endian bytes at any alignment, which must outlive the
/// evaluation.
struct Operands {
  absl::Span<const std::byte> input;
  absl::Span<const std::byte> target;
  absl::Span<const std::byte> grad_output;  ///< Only if the plan has one.
};

/// Bytes of each output of a plan; 0 for one that the plan does not ask for.
struct OutputSizes {
  size_t loss = 0;
  size_t log_sum_exp = 0;
  size_t grad_input = 0;
  size_t grad_target = 0;
  size_t grad_weight = 0;
};
OutputSizes SizesOf(const Plan& plan);

/// Memory for the outputs, of exactly those sizes; null if the size is 0 and the output is not
/// wanted.
struct OutputBuffers {
  std::byte* loss = nullptr;
  std::byte* log_sum_exp = nullptr;
  std::byte* grad_input = nullptr;
  std::byte* grad_target = nullptr;
  std::byte* grad_weight = nullptr;
};

/// One evaluation: Create, RunTask for every task in any order on any threads, then Finish once.
///
///     auto batch = BatchEvaluation::Create(plan, operands, outputs);
///     Scratch scratch;
///     for (int64_t i = 0; i < (*batch)->tasks(); ++i) (*batch)->RunTask(i, &scratch);
///     Summary summary = (*batch)->Finish();
class BatchEvaluation {
 public:
  /// Checks byte counts and labels; evaluates no position. INVALID_ARGUMENT names the field. All
  /// threads of `pool`, if given, check the labels if there are many.
  static absl::StatusOr<std::unique_ptr<BatchEvaluation>> Create(std::shared_ptr<const Plan> plan,
                                                                 const Operands& operands,
                                                                 const OutputBuffers& outputs,
                                                                 Pool* pool = nullptr);

  [[nodiscard]] int64_t tasks() const { return tasks_; }
  void RunTask(int64_t index, Scratch* scratch);
  /// Reduces, and writes a reduced loss and the weight gradient. REQUIRES: every task has been run.
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

/// Evaluates the whole problem, with tasks shared over `pool`; on the calling thread if `pool` is
/// null. A problem of one task runs inline. Errors are those of Create.
absl::StatusOr<Summary> EvaluateBatch(std::shared_ptr<const Plan> plan, const Operands& operands,
                                      const OutputBuffers& outputs, Pool* pool);

/// Positions of a task, at least 1: about 128 KiB of input, less if positions cost more than their
/// logits.
int64_t PositionsPerTask(const Plan& plan);

/// Writes a scalar loss in the plan's loss type.
void StoreReducedLoss(const Plan& plan, const Summary& summary, std::byte* to);

}  // namespace lossd

#endif  // LOSSD_CORE_BATCH_H_
