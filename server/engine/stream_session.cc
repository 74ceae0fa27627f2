#include "server/engine/stream_session.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "core/batch.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/problem/weight_values.h"
#include "server/engine/footprint.h"
#include "server/engine/memory_budget.h"

namespace lossd {
StreamSession::StreamSession(std::shared_ptr<const Plan> plan, const StreamLimits& limits,
                             WorkerPool* pool, std::function<void()> on_progress)
    : plan_(std::move(plan)),
      limits_(limits),
      layout_(*plan_),
      pool_(pool),
      on_progress_(std::move(on_progress)),
      queue_(WorkerPool::NewQueue()),
      intake_(*plan_, layout_, limits_.max_skew_bytes),
      totals_(plan_->loss_dtype()) {
  const int64_t sample_bytes =
      layout_.operand_bytes[static_cast<size_t>(Operand::kInput)] * layout_.inner;
  const int64_t samples =
      std::max<int64_t>(1, limits_.unit_bytes / std::max<int64_t>(1, sample_bytes));
  unit_positions_ = samples * layout_.inner;
  window_units_ = std::max<int64_t>(1, limits_.window_bytes / (samples * sample_bytes));
}

absl::StatusOr<std::shared_ptr<StreamSession>> StreamSession::Create(
    std::shared_ptr<const Plan> plan, const StreamLimits& limits, WorkerPool* pool,
    MemoryBudget* budget, std::function<void()> on_progress) {
  const bool has_labels = plan->target_kind() == TargetKind::kClassIndex;
  const uint64_t label_bytes = has_labels ? Labels::StoredBytes(*plan) : 0;
  if (label_bytes > limits.max_label_bytes) {
    return WithMetadata(
        FieldError(absl::StatusCode::kResourceExhausted, "header.target.shape", "LIMIT_EXCEEDED",
                   absl::StrCat("the class indices take ", label_bytes, " bytes; expected at most ",
                                limits.max_label_bytes)),
        LimitMetadata("max_label_bytes", limits.max_label_bytes, label_bytes));
  }
  std::shared_ptr<StreamSession> session(
      new StreamSession(std::move(plan), limits, pool, std::move(on_progress)));
  const Plan& checked = *session->plan_;
  // A tensor smaller than the window needs no more than itself.
  const int64_t all = std::max<int64_t>(1, checked.positions());
  const int64_t units = session->window_units_ + 1;
  const int64_t window =
      session->unit_positions_ > all / units ? all : session->unit_positions_ * units;
  uint64_t bytes =
      SaturatingMultiply(static_cast<uint64_t>(window), session->layout_.BytesPerPosition());
  bytes = SaturatingAdd(bytes, KeptBytes(checked));
  bytes = SaturatingAdd(bytes, SizesOf(checked).grad_weight);
  bytes = SaturatingAdd(bytes, TaskScratchBytes(checked, window, pool->threads()));
  auto reservation = budget->Reserve(bytes);
  if (!reservation.ok()) return reservation.status();
  session->reservation_ = *std::move(reservation);
  if (checked.weight_follows()) {
    session->weight_.emplace(checked.WeightDType(), checked.classes());
  } else {
    session->Begin(session->plan_);
  }
  return session;
}

void StreamSession::Begin(std::shared_ptr<const Plan> plan) {
  plan_ = std::move(plan);
  if (plan_->target_kind() == TargetKind::kClassIndex) labels_.emplace(*plan_);
  if (plan_->outputs().grad_weight) class_sums_.emplace(*plan_);
  context_ = {plan_.get(), labels_ ? &*labels_ : nullptr, 1.0,
              class_sums_ ? &*class_sums_ : nullptr};
}

absl::Status StreamSession::Append(Operand operand, absl::Span<const std::byte> bytes) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (cancelled_ || bytes.empty()) return absl::OkStatus();
  LOSSD_RETURN_IF_ERROR(intake_.Take(operand, bytes.size()));
  if (operand == Operand::kWeight) {
    AppendWeight(bytes);
    return absl::OkStatus();
  }
  if (operand == Operand::kTarget && labels_) return labels_->Append(bytes);
  if (layout_.operand_bytes[static_cast<size_t>(operand)] == 0) {
    AppendScalarGrad(bytes);
    return absl::OkStatus();
  }
  return AppendToUnits(operand, bytes, &lock);
}

void StreamSession::AppendWeight(absl::Span<const std::byte> bytes) {
  weight_->Append(bytes);
  if (!weight_->Full()) return;
  Begin(plan_->WithWeight(*std::move(weight_)));
  weight_.reset();
}

void StreamSession::AppendScalarGrad(absl::Span<const std::byte> bytes) {
  const int64_t received = intake_.received(Operand::kGradOutput);
  std::memcpy(scalar_grad_.data() + received - static_cast<int64_t>(bytes.size()), bytes.data(),
              bytes.size());
  if (intake_.Whole(Operand::kGradOutput)) {
    LoadAsDouble(plan_->grad_output()->dtype, scalar_grad_.data(), 1, &grad_output_);
  }
}

absl::Status StreamSession::AppendToUnits(Operand operand, absl::Span<const std::byte> bytes,
                                          std::unique_lock<std::mutex>* lock) {
  if (operand == Operand::kInput && labels_) {
    LOSSD_RETURN_IF_ERROR(intake_.CheckLabelsLead(labels_->filled()));
  }
  const auto which = static_cast<size_t>(operand);
  const int64_t unit_bytes = layout_.operand_bytes[which] * unit_positions_;
  int64_t begin = intake_.received(operand) - static_cast<int64_t>(bytes.size());
  while (!bytes.empty() && !cancelled_) {
    const auto index = static_cast<size_t>(begin / unit_bytes - first_unit_);
    while (units_.size() <= index) {
      const int64_t first = (first_unit_ + static_cast<int64_t>(units_.size())) * unit_positions_;
      units_.push_back(std::make_shared<StreamUnit>(
          layout_, first, std::min(unit_positions_, plan_->positions() - first)));
    }
    const std::shared_ptr<StreamUnit> unit = units_[index];
    const absl::Span<std::byte> room = unit->Room(operand, bytes.size());
    lock->unlock();
    std::memcpy(room.data(), bytes.data(), room.size());
    lock->lock();
    unit->Fill(operand, room.size());
    bytes.remove_prefix(room.size());
    begin += static_cast<int64_t>(room.size());
  }
  return absl::OkStatus();
}

absl::Status StreamSession::EndMessage() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!cancelled_) Schedule();
  return intake_.CheckSkew();
}

absl::Status StreamSession::Close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  LOSSD_RETURN_IF_ERROR(intake_.CheckEnd());
  closed_ = true;
  return absl::OkStatus();
}

bool StreamSession::ScaleReady() const {
  const bool scalar = layout_.operand_bytes[static_cast<size_t>(Operand::kGradOutput)] == 0;
  if (weight_ || (scalar && !intake_.Whole(Operand::kGradOutput))) return false;
  return !plan_->NeedsLabelsForScale() || labels_->filled() == plan_->positions();
}

void StreamSession::Schedule() {
  if (!ScaleReady()) return;
  if (!scale_set_) {
    scale_set_ = true;
    if (plan_->outputs().AnyGradient()) {
      const bool from_labels = plan_->NeedsLabelsForScale();
      const bool divides = plan_->criterion().reduction == Reduction::kMean;
      const bool natural = divides && !plan_->criterion().normalizer;
      const AnyExactSum sum = natural ? Normalizer(*plan_, from_labels ? &*labels_ : nullptr)
                                      : MakeExactSum(plan_->loss_dtype());
      context_.scale = Scale(*plan_, grad_output_, sum);
    }
  }
  const int64_t task_positions = PositionsPerTask(*plan_);
  for (const auto& unit : units_) {
    while (unit->Ready() - unit->taken() >= task_positions) {
      Submit(unit, unit->TakeTask(task_positions));
    }
    // The rest is less than a full task: submit it only if the unit gets no more, or nothing runs.
    const bool whole = unit->Ready() == unit->positions();
    if (unit->Ready() > unit->taken() && (whole || in_flight_ == 0)) {
      Submit(unit, unit->TakeTask(task_positions));
    }
    if (!whole) break;
  }
}

void StreamSession::Submit(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range) {
  pool_->Submit(queue_, [self = shared_from_this(), unit, range, slab = unit->MakeSlab()](
                            Scratch* scratch) { self->RunTask(unit, range, slab, scratch); });
  ++in_flight_;  // After Submit, which may throw; the task cannot end first: it waits for mutex_.
}

void StreamSession::RunTask(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range,
                            const Slab& slab, Scratch* scratch) {
  bool run = false;
  RowContext context;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    run = !cancelled_;
    context = context_;
  }
  RowTotals totals(plan_->loss_dtype());
  bool out_of_memory = false;
  try {
    if (run) EvaluateRows(context, slab, range.begin, range.end, &totals, scratch);
  } catch (const std::bad_alloc&) {
    out_of_memory = true;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    --in_flight_;
    if (cancelled_) return;
    if (out_of_memory || !TakeResults(unit, range, totals)) Fail();
  }
  on_progress_();
}

bool StreamSession::TakeResults(const std::shared_ptr<StreamUnit>& unit, StreamUnit::Range range,
                                const RowTotals& totals) {
  try {
    totals_.Merge(totals);
    unit->Done(range);
    DropFinishedUnits();
    Schedule();
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void StreamSession::Fail() {
  out_of_memory_ = true;
  cancelled_ = true;
  units_.clear();
}

absl::Status StreamSession::status() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return out_of_memory_ ? OutOfMemory() : absl::OkStatus();
}

void StreamSession::DropFinishedUnits() {
  while (!units_.empty() && units_.front()->AllTaken()) {
    units_.pop_front();
    ++first_unit_;
  }
}

bool StreamSession::WantsOperands(int64_t coming) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t unit_bytes =
      layout_.operand_bytes[static_cast<size_t>(Operand::kInput)] * unit_positions_;
  const int64_t more = CeilDivide(coming, std::max<int64_t>(1, unit_bytes));
  if (static_cast<int64_t>(units_.size()) + more <= window_units_) return true;
  if (coming > 0) return false;
  // The window is full. If nothing runs either, only more bytes can help; CheckSkew bounds them.
  return in_flight_ == 0 && units_.front()->taken() < units_.front()->positions();
}

bool StreamSession::Evaluated() const {
  return closed_ && units_.empty() && in_flight_ == 0 &&
         first_unit_ * unit_positions_ >= plan_->positions();
}

std::optional<StreamReply> StreamSession::TakeReply() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (cancelled_ || last_taken_) return std::nullopt;
  StreamReply reply;
  size_t room = limits_.reply_bytes;
  // One unit per reply: the next unit may be far from ready.
  if (!units_.empty()) {
    const std::shared_ptr<StreamUnit> unit = units_.front();
    for (size_t which = 0; which < kUnitOutputs && room > 0; ++which) {
      const auto output = static_cast<Output>(which);
      const auto bytes = unit->TakeOutput(output, room);
      if (bytes.empty()) continue;
      room -= bytes.size();
      reply.parts.push_back({output, bytes, unit});
    }
    DropFinishedUnits();
    if (!reply.parts.empty()) return reply;
  }
  if (!Evaluated()) return std::nullopt;
  if (!summary_) summary_ = Summarize(*plan_, context_.labels, totals_);
  if (auto weight = TakeWeightGradient()) return weight;
  last_taken_ = true;
  return LastReply();
}

std::optional<StreamReply> StreamSession::TakeWeightGradient() {
  if (!class_sums_) return std::nullopt;
  if (weight_gradient_ == nullptr) {
    weight_gradient_ = std::make_shared<Buffer>(SizesOf(*plan_).grad_weight);
    class_sums_->Write(*plan_, context_.labels, grad_output_, *summary_, weight_gradient_->data());
  }
  const size_t left = weight_gradient_->size() - weight_gradient_sent_;
  if (left == 0) return std::nullopt;
  const size_t count = std::min(left, limits_.reply_bytes);
  StreamReply reply;
  reply.parts.push_back({Output::kGradWeight,
                         {weight_gradient_->data() + weight_gradient_sent_, count},
                         weight_gradient_});
  weight_gradient_sent_ += count;
  return reply;
}

StreamReply StreamSession::LastReply() {
  StreamReply reply;
  reply.summary = summary_;
  if (plan_->outputs().loss && plan_->criterion().reduction != Reduction::kNone) {
    auto loss = std::make_shared<Buffer>(SizeOf(plan_->loss_dtype()));
    StoreReducedLoss(*plan_, *summary_, loss->data());
    reply.parts.push_back({Output::kLoss, {loss->data(), loss->size()}, loss});
  }
  return reply;
}

void StreamSession::GiveBack() {
  const std::lock_guard<std::mutex> lock(mutex_);
  reservation_ = {};
}

void StreamSession::Cancel() {
  const std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = true;
  units_.clear();
}

}  // namespace lossd
