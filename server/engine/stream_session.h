// The state machine of one stream, without gRPC. Operand bytes go in, split anywhere; output bytes
// come out, in input order, as soon as their rows are done.
#ifndef LOSSD_SERVER_ENGINE_STREAM_SESSION_H_
#define LOSSD_SERVER_ENGINE_STREAM_SESSION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/labels/labels.h"
#include "core/problem/plan.h"
#include "core/problem/weight_values.h"
#include "core/rows/kernel.h"
#include "core/sums/class_sums.h"
#include "core/sums/summary.h"
#include "server/engine/memory_budget.h"
#include "server/engine/stream_intake.h"
#include "server/engine/stream_unit.h"
#include "server/engine/worker_pool.h"

namespace lossd {

struct StreamLimits {
  /// Input bytes of a unit, the granularity of allocation; a larger sample is a unit of its own.
  int64_t unit_bytes = int64_t{1} << 20U;
  /// Input bytes that a stream holds at once, in units; at least one unit.
  int64_t window_bytes = int64_t{4} << 20U;
  /// Bytes that one operand may be ahead of the others.
  int64_t max_skew_bytes = int64_t{8} << 20U;
  uint64_t max_label_bytes = uint64_t{256} << 20U;
  /// Bytes of outputs in one reply.
  size_t reply_bytes = size_t{1} << 20U;
};

/// Bytes of an output; `owner` keeps them alive.
struct OutputPart {
  Output output;
  absl::Span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// One reply: parts of outputs. Only the last reply has the summary.
struct StreamReply {
  std::vector<OutputPart> parts;
  std::optional<Summary> summary;
};

/// Thread-safe. Held by shared_ptr: tasks in the pool keep it alive.
class StreamSession : public std::enable_shared_from_this<StreamSession> {
 public:
  /// `on_progress` is called from worker threads, without any lock held, when the result of
  /// TakeReply or WantsOperands may have changed. RESOURCE_EXHAUSTED if the stream exceeds the
  /// limits or the budget. `pool` and `budget` must outlive the session.
  static absl::StatusOr<std::shared_ptr<StreamSession>> Create(std::shared_ptr<const Plan> plan,
                                                               const StreamLimits& limits,
                                                               WorkerPool* pool,
                                                               MemoryBudget* budget,
                                                               std::function<void()> on_progress);

  /// Appends bytes to an operand; one thread at a time. An error ends the stream.
  absl::Status Append(Operand operand, absl::Span<const std::byte> bytes);
  /// To be called when all parts of one message have been appended. Submits all tasks that are
  /// ready together, so that the pool's threads wake once per message and not for each task. An
  /// error if one operand is too far ahead of another.
  absl::Status EndMessage();
  /// To be called when no more bytes come: an error if an operand is incomplete.
  absl::Status Close();

  /// False while the window is full and work in progress will make room. `coming` is the number of
  /// bytes that were received but not yet appended.
  [[nodiscard]] bool WantsOperands(int64_t coming = 0);
  /// The next reply, if there is one. The reply with the summary is the last.
  std::optional<StreamReply> TakeReply();

  /// OK, or the error of a task that could not be evaluated: RESOURCE_EXHAUSTED, reason
  /// MEMORY_BUSY. After an error the session does nothing more.
  [[nodiscard]] absl::Status status() const;

  /// To be called after the last reply: gives the budget back at once, since a task that has just
  /// ended may keep the session alive a little longer.
  void GiveBack();

  /// Ends the computation: tasks that have not begun are dropped.
  void Cancel();

 private:
  StreamSession(std::shared_ptr<const Plan> plan, const StreamLimits& limits, WorkerPool* pool,
                std::function<void()> on_progress);

  /// Builds the members that depend on the plan, its weight included.
  void Begin(std::shared_ptr<const Plan> plan);

  // REQUIRES, down to TakeWeightGradient: mutex_ is held. AppendToUnits releases `lock` while it
  // copies bytes, so that workers do not wait.
  void AppendWeight(absl::Span<const std::byte> bytes);
  absl::Status AppendToUnits(Operand operand, absl::Span<const std::byte> bytes,
                             std::unique_lock<std::mutex>* lock);
  void AppendScalarGrad(absl::Span<const std::byte> bytes);
  [[nodiscard]] bool ScaleReady() const;
  void Schedule();
  void Submit(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range);
  void DropFinishedUnits();
  /// False if memory runs out.
  bool TakeResults(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range,
                   const RowTotals& totals);
  void Fail();
  [[nodiscard]] bool Evaluated() const;
  StreamReply LastReply();
  std::optional<StreamReply> TakeWeightGradient();

  void RunTask(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range, const Slab& slab,
               Scratch* scratch);

  std::shared_ptr<const Plan> plan_;  // Replaced once, when the weight is complete.
  const StreamLimits limits_;
  const UnitLayout layout_;
  WorkerPool* const pool_;
  const std::function<void()> on_progress_;
  const std::shared_ptr<WorkerPool::Queue> queue_;
  MemoryBudget::Reservation reservation_;
  int64_t unit_positions_ = 1;
  int64_t window_units_ = 1;

  mutable std::mutex mutex_;
  StreamIntake intake_;
  std::optional<WeightValues> weight_;  // Only until it is complete.
  std::optional<Labels> labels_;
  std::optional<ClassSums> class_sums_;
  RowTotals totals_;
  RowContext context_;
  bool scale_set_ = false;
  double grad_output_ = 1.0;
  std::array<std::byte, 8> scalar_grad_{};
  std::deque<std::shared_ptr<StreamUnit>> units_;
  int64_t first_unit_ = 0;  // Index of units_.front().
  int64_t in_flight_ = 0;
  bool closed_ = false;
  bool cancelled_ = false;
  bool out_of_memory_ = false;
  bool last_taken_ = false;
  std::shared_ptr<Buffer> weight_gradient_;
  size_t weight_gradient_sent_ = 0;
  std::optional<Summary> summary_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_STREAM_SESSION_H_
