#include "server/request_evaluation.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/batch.h"
#include "core/buffer.h"
#include "core/error.h"
#include "core/plan.h"
#include "core/summary.h"
#include "core/tensor.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/lend.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/tensor_codec.h"
#include "proto/codec/wire_write.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/request_reader.h"

namespace lossd {
namespace {

/// The response with its tensors as values.
std::string TypedResponse(const Plan& plan, const OutputBuffers& outputs, const OutputSizes& sizes,
                          const Summary& summary) {
  v1::EvaluateResponse response;
  const Outputs& wanted = plan.outputs();
  const auto fill = [](const TensorSpec& spec, const std::byte* bytes, size_t size,
                       v1::Tensor* tensor) {
    FillTensor(spec, {bytes, size}, /*typed=*/true, tensor);
  };
  if (wanted.loss) {
    fill({plan.loss_dtype(), plan.LossShape()}, outputs.loss, sizes.loss, response.mutable_loss());
  }
  if (wanted.log_sum_exp) {
    fill({plan.loss_dtype(), plan.PositionShape()}, outputs.log_sum_exp, sizes.log_sum_exp,
         response.mutable_log_sum_exp());
  }
  if (wanted.grad_weight) {
    fill({plan.WeightDType(), {plan.classes()}}, outputs.grad_weight, sizes.grad_weight,
         response.mutable_grad_weight());
  }
  ToWire(summary, response.mutable_summary());
  if (wanted.grad_target) {
    fill(plan.target(), outputs.grad_target, sizes.grad_target, response.mutable_grad_target());
  }
  if (wanted.grad_input) {
    fill(plan.input(), outputs.grad_input, sizes.grad_input, response.mutable_grad_input());
  }
  return response.SerializeAsString();
}

/// A request, what it is evaluated with and what it gives.
struct Evaluation {
  IncomingRequest request;
  std::unique_ptr<BatchEvaluation> batch;
  OutputSizes sizes;
  OutputBuffers outputs;

  explicit Evaluation(IncomingRequest incoming)
      : request(std::move(incoming)), sizes(SizesOf(plan())) {}

  [[nodiscard]] const Plan& plan() const { return *request.parsed.plan; }

  /// Bytes of all outputs, each from a place that is aligned.
  [[nodiscard]] size_t OutputBytes() const {
    return Aligned(sizes.loss) + Aligned(sizes.log_sum_exp) + Aligned(sizes.grad_weight) +
           Aligned(sizes.grad_target) + Aligned(sizes.grad_input);
  }

  /// For the outputs, of a request whose message holds `message`.
  absl::StatusOr<MemoryBudget::Reservation> Reserve(
      MemoryBudget* budget, const MemoryBudget::Reservation& message) const {
    uint64_t bytes =
        sizes.loss + sizes.log_sum_exp + sizes.grad_input + sizes.grad_target + sizes.grad_weight;
    if (plan().target_kind() == TargetKind::kClassIndex) bytes += Labels::StoredBytes(plan());
    if (plan().outputs().grad_weight) bytes += ClassSums::StoredBytes(plan());
    return budget->Reserve(bytes, message);
  }

  /// Writes outputs from `at` on. Throws std::bad_alloc.
  absl::Status Begin(std::byte* at) {
    const auto take = [&](size_t size) -> std::byte* {
      return size == 0 ? nullptr : std::exchange(at, at + Aligned(size));
    };
    outputs = {take(sizes.loss), take(sizes.log_sum_exp), take(sizes.grad_input),
               take(sizes.grad_target), take(sizes.grad_weight)};
    auto created = BatchEvaluation::Create(request.parsed.plan, request.parsed.operands, outputs);
    if (!created.ok()) return created.status();
    batch = *std::move(created);
    return absl::OkStatus();
  }

  /// The response, and whether it lends the outputs, which `owner` keeps.
  std::vector<grpc::Slice> Respond(std::shared_ptr<const void> owner, bool* lends) {
    const Summary summary = batch->Finish();
    SliceBuilder builder(std::move(owner));
    if (request.parsed.typed) {
      *builder.text() = TypedResponse(plan(), outputs, sizes, summary);
    } else if (request.form != nullptr) {
      AppendRaw(request.form->frame(), summary, &builder);
    } else {
      AppendRaw(FrameOf(plan(), FrameOf(summary)), summary, &builder);
    }
    *lends = builder.lends();
    return builder.Take();
  }

 private:
  static size_t Aligned(size_t size) {
    constexpr size_t kAlign = Buffer::kAlignment;
    return (size + kAlign - 1) / kAlign * kAlign;
  }

  void AppendRaw(const ResponseFrame& frame, const Summary& summary, SliceBuilder* to) const {
    to->Append(frame.loss, {outputs.loss, sizes.loss});
    to->Append(frame.log_sum_exp, {outputs.log_sum_exp, sizes.log_sum_exp});
    to->Append(frame.grad_weight, {outputs.grad_weight, sizes.grad_weight});
    AppendSummary(v1::EvaluateResponse::kSummaryFieldNumber, frame.summary, summary, to->text());
    to->Append(frame.grad_target, {outputs.grad_target, sizes.grad_target});
    to->Append(frame.grad_input, {outputs.grad_input, sizes.grad_input});
  }
};

/// Outputs that are lent to gRPC until they are sent.
struct LentOutputs {
  Buffer memory;
  MemoryBudget::Reservation reservation;
};

/// A request under way; owned by its tasks, and then by what gRPC still sends of it.
struct Job : std::enable_shared_from_this<Job> {
  Evaluation evaluation;
  MemoryBudget::Reservation request_reservation;
  MemoryBudget::Reservation reservation;
  Buffer outputs;
  std::atomic<int64_t> left = 0;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  EvaluationDone done;

  explicit Job(Evaluation begun) : evaluation(std::move(begun)) {}

  absl::Status Begin(const EvaluationContext& context) {
    auto reserved = evaluation.Reserve(context.budget, request_reservation);
    if (!reserved.ok()) return reserved.status();
    reservation = *std::move(reserved);
    try {
      outputs = Buffer(evaluation.OutputBytes());
      return evaluation.Begin(outputs.data());
    } catch (const std::bad_alloc&) {
      return OutOfMemory();
    }
  }

  /// A client that has its answer finds what its request took of the budget free. The memory
  /// follows when this job goes, at once, which the answer need not wait for; but a job that lends
  /// its outputs lives until they are sent.
  void End(absl::Status status, std::vector<grpc::Slice> response, bool lent) {
    if (lent) {
      evaluation.batch.reset();
      evaluation.request = IncomingRequest();
    } else {
      reservation = MemoryBudget::Reservation();
    }
    request_reservation = MemoryBudget::Reservation();
    done(std::move(status), std::move(response));
  }

  void Finish() {
    if (*cancelled) return End(absl::CancelledError("the call was cancelled"), {}, false);
    bool lent = false;
    std::vector<grpc::Slice> response;
    try {
      response = evaluation.Respond(shared_from_this(), &lent);
    } catch (const std::bad_alloc&) {
      return End(OutOfMemory(), {}, false);
    }
    End(absl::OkStatus(), std::move(response), lent);
  }
};

}  // namespace

absl::StatusOr<std::vector<grpc::Slice>> EvaluateSmallRequest(
    const EvaluationContext& context, IncomingRequest request,
    MemoryBudget::Reservation reservation) {
  static thread_local Scratch scratch;
  static thread_local Buffer kept;
  Evaluation evaluation(std::move(request));
  auto reserved = evaluation.Reserve(context.budget, reservation);
  if (!reserved.ok()) return reserved.status();
  try {
    std::shared_ptr<LentOutputs> owner;
    std::byte* outputs = nullptr;
    if (evaluation.OutputBytes() <= kLentBytes) {  // None of them is lent.
      if (kept.size() == 0) kept = Buffer(kLentBytes);
      outputs = kept.data();
    } else {
      owner = std::make_shared<LentOutputs>();
      owner->memory = Buffer(evaluation.OutputBytes());
      outputs = owner->memory.data();
    }
    LOSSD_RETURN_IF_ERROR(evaluation.Begin(outputs));
    for (int64_t i = 0; i < evaluation.batch->tasks(); ++i) evaluation.batch->RunTask(i, &scratch);
    bool lent = false;
    auto response = evaluation.Respond(owner, &lent);
    if (lent) owner->reservation = *std::move(reserved);
    return response;
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

void EvaluateRequestAsync(const EvaluationContext& context, IncomingRequest request,
                          MemoryBudget::Reservation reservation,
                          std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done) {
  auto job = std::make_shared<Job>(Evaluation(std::move(request)));
  job->request_reservation = std::move(reservation);
  job->cancelled = std::move(cancelled);
  job->done = std::move(done);
  absl::Status status = job->Begin(context);
  if (!status.ok()) return job->End(std::move(status), {}, false);
  const int64_t tasks = job->evaluation.batch->tasks();
  job->left = tasks;
  const auto queue = WorkerPool::NewQueue();
  for (int64_t i = 0; i < tasks; ++i) {
    context.pool->Submit(queue, [job, i](Scratch* scratch) {
      if (!*job->cancelled) job->evaluation.batch->RunTask(i, scratch);
      if (--job->left == 0) job->Finish();
    });
  }
}

}  // namespace lossd
