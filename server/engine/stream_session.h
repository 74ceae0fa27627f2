// The state machine of one stream, free of gRPC: bytes of operands go in, cut anywhere; bytes of
// outputs come out, in input order, as soon as rows are done.
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
  /// Input bytes of a unit, the piece in which memory is taken; a sample that is larger is a unit.
  int64_t unit_bytes = int64_t{1} << 20U;
  /// Input bytes that a stream holds at once, in units; at least one unit.
  int64_t window_bytes = int64_t{4} << 20U;
  /// Bytes that one operand may be ahead of the others.
  int64_t max_skew_bytes = int64_t{8} << 20U;
  uint64_t max_label_bytes = uint64_t{256} << 20U;
  /// Bytes of outputs in one reply.
  size_t reply_bytes = size_t{1} << 20U;
};

/// Bytes of an output; the owner keeps them alive.
struct OutputPart {
  Output output;
  absl::Span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// One reply: parts of outputs, and in the last one the summary.
struct StreamReply {
  std::vector<OutputPart> parts;
  std::optional<Summary> summary;
};

/// Thread-safe. Held by shared_ptr: tasks in the pool keep it alive.
class StreamSession : public std::enable_shared_from_this<StreamSession> {
 public:
  /// `on_progress` is called from worker threads, without any lock held, when TakeReply or
  /// WantsOperands may have something new to say. RESOURCE_EXHAUSTED where the stream does not fit
  /// the limits or the budget, which must outlive it as the pool must.
  static absl::StatusOr<std::shared_ptr<StreamSession>> Create(std::shared_ptr<const Plan> plan,
                                                               const StreamLimits& limits,
                                                               WorkerPool* pool,
                                                               MemoryBudget* budget,
                                                               std::function<void()> on_progress);

  /// Appends bytes to an operand; one thread at a time. An error ends the stream.
  absl::Status Append(Operand operand, absl::Span<const std::byte> bytes);
  /// To be called when the parts of one message have been appended: hands what can be evaluated to
  /// the pool, at once, so that its threads wake once a message and not for each task of it. An
  /// error where one operand has run too far ahead of another.
  absl::Status EndMessage();
  /// No more bytes come: an error where an operand is not whole.
  absl::Status Close();

  /// False while the window is full and something is under way that will make room. `coming` are
  /// bytes that were received and are yet to be appended.
  [[nodiscard]] bool WantsOperands(int64_t coming = 0);
  /// The next reply, where there is one. The one with the summary is the last.
  std::optional<StreamReply> TakeReply();

  /// OK, or why a task could not be evaluated: RESOURCE_EXHAUSTED, reason MEMORY_BUSY. Nothing goes
  /// on after that.
  [[nodiscard]] absl::Status status() const;

  /// To be called after the last reply: gives the budget back, though a task that has just ended
  /// may hold the session a little longer.
  void GiveBack();

  /// Ends the computation: tasks that have not begun are dropped.
  void Cancel();

 private:
  StreamSession(std::shared_ptr<const Plan> plan, const StreamLimits& limits, WorkerPool* pool,
                std::function<void()> on_progress);

  /// Makes what depends on the plan, its weight included.
  void Begin(std::shared_ptr<const Plan> plan);

  // All below with mutex_ held, which `lock` gives up while bytes are copied: workers would wait.
  void AppendWeight(absl::Span<const std::byte> bytes);
  absl::Status AppendToUnits(Operand operand, absl::Span<const std::byte> bytes,
                             std::unique_lock<std::mutex>* lock);
  void AppendScalarGrad(absl::Span<const std::byte> bytes);
  [[nodiscard]] bool ScaleReady() const;
  void Schedule();
  void Submit(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range);
  void DropFinishedUnits();
  /// False where memory does not suffice to go on.
  bool TakeResults(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range,
                   const RowTotals& totals);
  void Fail();
  [[nodiscard]] bool Evaluated() const;
  StreamReply LastReply();
  std::optional<StreamReply> TakeWeightGradient();

  void RunTask(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range, const Slab& slab,
               Scratch* scratch);

  std::shared_ptr<const Plan> plan_;  // Another one once, when the weight is whole.
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
  std::optional<WeightValues> weight_;  // Until it is whole.
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
