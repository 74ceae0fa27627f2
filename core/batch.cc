#include "core/batch.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/labels/labels.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "core/rows/kernel.h"
#include "core/sums/class_sums.h"
#include "core/sums/summary.h"

namespace lossd {
namespace {

/// Input bytes of a task: large enough to hide the cost of handing it over (some 20 us of work),
/// small enough that other requests get their turn within a few milliseconds.
constexpr int64_t kTaskBytes = int64_t{128} * 1024;
constexpr int64_t kEvenTasks = 4;
/// The cost of a position beside its logits, in bytes of logits.
constexpr int64_t kPositionBytes = 64;

/// Gradients of at least this many bytes find no room in a cache in which a reader would look for
/// them. Non-temporal stores, which do not read the cache lines that they write, take two thirds of
/// the memory's time.
constexpr size_t kStreamedBytes = size_t{16} << 20U;

}  // namespace

int64_t PositionsPerTask(const Plan& plan) {
  const int64_t row = plan.classes() * static_cast<int64_t>(SizeOf(plan.input().dtype));
  // Strided classes are read in runs of positions, at least as long as a tile.
  const int64_t least =
      plan.inner() == 1 ? 1 : static_cast<int64_t>(StridedPositions(static_cast<size_t>(row)));
  return std::max<int64_t>(least, kTaskBytes / (row + kPositionBytes));
}

OutputSizes SizesOf(const Plan& plan) {
  const Outputs& wanted = plan.outputs();
  const auto positions = static_cast<size_t>(plan.positions());
  const size_t elements = positions * static_cast<size_t>(plan.classes());
  const size_t loss = SizeOf(plan.loss_dtype());
  OutputSizes sizes;
  if (wanted.loss) {
    sizes.loss = plan.criterion().reduction == Reduction::kNone ? positions * loss : loss;
  }
  if (wanted.log_sum_exp) sizes.log_sum_exp = positions * loss;
  if (wanted.grad_input) sizes.grad_input = elements * SizeOf(plan.input().dtype);
  if (wanted.grad_target) sizes.grad_target = elements * SizeOf(plan.target().dtype);
  if (wanted.grad_weight) {
    sizes.grad_weight = static_cast<size_t>(plan.classes()) * SizeOf(plan.WeightDType());
  }
  return sizes;
}

void StoreReducedLoss(const Plan& plan, const Summary& summary, std::byte* to) {
  StoreFromDouble(plan.loss_dtype(), ReducedLoss(summary), to);
}

BatchEvaluation::BatchEvaluation(std::shared_ptr<const Plan> plan, const Operands& operands,
                                 const OutputBuffers& outputs)
    : plan_(std::move(plan)), outputs_(outputs), totals_(plan_->loss_dtype()) {
  slab_.input = operands.input.data();
  if (plan_->criterion().reduction == Reduction::kNone) slab_.loss = outputs.loss;
  slab_.log_sum_exp = outputs.log_sum_exp;
  slab_.grad_input = outputs.grad_input;
  slab_.grad_target = outputs.grad_target;
  const int64_t most = PositionsPerTask(*plan_);
  tasks_ = (plan_->positions() + most - 1) / most;
  if (tasks_ <= 1) {
    positions_per_task_ = std::max<int64_t>(1, plan_->positions());
    return;
  }
  // Even shares leave no short task for the end. The number of tasks is first rounded up to a
  // multiple of four: for two or four threads, four tasks are better than three. Tasks are then
  // rounded up to whole groups of a tile if there are enough positions, or to whole cache lines if
  // classes are strided.
  tasks_ = (tasks_ + kEvenTasks - 1) / kEvenTasks * kEvenTasks;
  positions_per_task_ = (plan_->positions() + tasks_ - 1) / tasks_;
  if (plan_->inner() > 1 || positions_per_task_ > static_cast<int64_t>(kTilePositions)) {
    constexpr auto kWhole = static_cast<int64_t>(kGroup);
    positions_per_task_ = (positions_per_task_ + kWhole - 1) / kWhole * kWhole;
  }
  tasks_ = (plan_->positions() + positions_per_task_ - 1) / positions_per_task_;
}

absl::StatusOr<std::unique_ptr<BatchEvaluation>> BatchEvaluation::Create(
    std::shared_ptr<const Plan> plan, const Operands& operands, const OutputBuffers& outputs,
    Pool* pool) {
  LOSSD_RETURN_IF_ERROR(CheckBytes({plan->input(), operands.input}, "input"));
  LOSSD_RETURN_IF_ERROR(CheckBytes({plan->target(), operands.target}, "target"));
  if (plan->grad_output()) {
    LOSSD_RETURN_IF_ERROR(CheckBytes({*plan->grad_output(), operands.grad_output}, "grad_output"));
  }
  auto batch = absl::WrapUnique(new BatchEvaluation(std::move(plan), operands, outputs));
  const Plan& checked = *batch->plan_;
  const Labels* labels = nullptr;
  if (checked.target_kind() == TargetKind::kClassIndex) {
    labels = &batch->labels_.emplace(checked);
    LOSSD_RETURN_IF_ERROR(pool == nullptr ? batch->labels_->Append(operands.target)
                                          : batch->labels_->AppendAll(operands.target, pool));
  } else {
    batch->slab_.target = operands.target.data();
  }
  if (checked.grad_output()) {
    if (checked.criterion().reduction == Reduction::kNone) {
      batch->slab_.grad_output = operands.grad_output.data();
    } else {
      LoadAsDouble(checked.grad_output()->dtype, operands.grad_output.data(), 1,
                   &batch->grad_output_);
    }
  }
  if (checked.outputs().grad_weight) batch->class_sums_.emplace(checked);
  double scale = 1.0;
  if (checked.outputs().AnyGradient()) {
    scale = Scale(checked, batch->grad_output_, Normalizer(checked, labels));
  }
  batch->context_ = {&checked, labels, scale, batch->class_sums_ ? &*batch->class_sums_ : nullptr,
                     SizesOf(checked).grad_input >= kStreamedBytes};
  return batch;
}

void BatchEvaluation::RunTask(int64_t index, Scratch* scratch) {
  const int64_t begin = index * positions_per_task_;
  const int64_t end = std::min(begin + positions_per_task_, plan_->positions());
  RowTotals totals(plan_->loss_dtype());
  EvaluateRows(context_, slab_, begin, end, &totals, scratch);
  const std::lock_guard<std::mutex> lock(mutex_);
  totals_.Merge(totals);
}

Summary BatchEvaluation::Finish() {
  Summary summary = Summarize(*plan_, context_.labels, totals_);
  if (outputs_.loss != nullptr && plan_->criterion().reduction != Reduction::kNone) {
    StoreReducedLoss(*plan_, summary, outputs_.loss);
  }
  if (outputs_.grad_weight != nullptr) {
    class_sums_->Write(*plan_, context_.labels, grad_output_, summary, outputs_.grad_weight);
  }
  return summary;
}

absl::StatusOr<Summary> EvaluateBatch(std::shared_ptr<const Plan> plan, const Operands& operands,
                                      const OutputBuffers& outputs, Pool* pool) {
  auto batch = BatchEvaluation::Create(std::move(plan), operands, outputs, pool);
  if (!batch.ok()) return batch.status();
  const auto run = [&batch](int64_t index, Scratch* scratch) { (*batch)->RunTask(index, scratch); };
  if (pool != nullptr) {
    pool->Run((*batch)->tasks(), run);
  } else {
    Scratch scratch;
    for (int64_t i = 0; i < (*batch)->tasks(); ++i) run(i, &scratch);
  }
  return (*batch)->Finish();
}

}  // namespace lossd
