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
#include "core/batch.h"
#include "core/buffer.h"
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

/// A request under way; owned by its tasks, and then by what gRPC still sends of it.
struct Job : std::enable_shared_from_this<Job> {
  IncomingRequest request;
  MemoryBudget::Reservation request_reservation;
  MemoryBudget::Reservation reservation;
  std::unique_ptr<BatchEvaluation> batch;
  OutputSizes sizes;
  OutputBuffers outputs;
  Buffer storage;  // All outputs, one after the other.
  std::atomic<int64_t> left = 0;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  EvaluationDone done;

  void Allocate() {
    constexpr size_t kAlign = Buffer::kAlignment;
    const auto rounded = [](size_t size) { return (size + kAlign - 1) / kAlign * kAlign; };
    storage = Buffer(rounded(sizes.loss) + rounded(sizes.log_sum_exp) + rounded(sizes.grad_weight) +
                     rounded(sizes.grad_target) + rounded(sizes.grad_input));
    std::byte* at = storage.data();
    const auto take = [&](size_t size) -> std::byte* {
      return size == 0 ? nullptr : std::exchange(at, at + rounded(size));
    };
    outputs = {take(sizes.loss), take(sizes.log_sum_exp), take(sizes.grad_input),
               take(sizes.grad_target), take(sizes.grad_weight)};
  }

  /// The response, and whether it lends the outputs.
  std::vector<grpc::Slice> Respond(bool* lends) {
    const Summary summary = batch->Finish();
    SliceBuilder builder(shared_from_this());
    if (request.parsed.typed) {
      *builder.text() = TypedResponse(*request.parsed.plan, outputs, sizes, summary);
    } else if (request.form != nullptr) {
      AppendRaw(request.form->frame(), summary, &builder);
    } else {
      AppendRaw(FrameOf(*request.parsed.plan, FrameOf(summary)), summary, &builder);
    }
    *lends = builder.lends();
    return builder.Take();
  }

  void AppendRaw(const ResponseFrame& frame, const Summary& summary, SliceBuilder* to) const {
    to->Append(frame.loss, {outputs.loss, sizes.loss});
    to->Append(frame.log_sum_exp, {outputs.log_sum_exp, sizes.log_sum_exp});
    to->Append(frame.grad_weight, {outputs.grad_weight, sizes.grad_weight});
    AppendSummary(v1::EvaluateResponse::kSummaryFieldNumber, frame.summary, summary, to->text());
    to->Append(frame.grad_target, {outputs.grad_target, sizes.grad_target});
    to->Append(frame.grad_input, {outputs.grad_input, sizes.grad_input});
  }

  /// A client that has its answer finds what its request took of the budget free. The memory
  /// follows when this job goes, at once, which the answer need not wait for; but a job that lends
  /// its outputs lives until they are sent.
  void End(absl::Status status, std::vector<grpc::Slice> response, bool lent) {
    if (lent) {
      batch.reset();
      request = IncomingRequest();
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
      response = Respond(&lent);
    } catch (const std::bad_alloc&) {
      return End(OutOfMemory(), {}, false);
    }
    End(absl::OkStatus(), std::move(response), lent);
  }
};

absl::Status Prepare(const EvaluationContext& context, Job* job) {
  const ParsedRequest& parsed = job->request.parsed;
  const Plan& plan = *parsed.plan;
  job->sizes = SizesOf(plan);
  const OutputSizes& sizes = job->sizes;
  uint64_t bytes =
      sizes.loss + sizes.log_sum_exp + sizes.grad_input + sizes.grad_target + sizes.grad_weight;
  if (plan.target_kind() == TargetKind::kClassIndex) bytes += Labels::StoredBytes(plan);
  if (plan.outputs().grad_weight) bytes += ClassSums::StoredBytes(plan);
  auto reservation = context.budget->Reserve(bytes);
  if (!reservation.ok()) return reservation.status();
  job->reservation = *std::move(reservation);
  job->Allocate();
  auto batch = BatchEvaluation::Create(parsed.plan, parsed.operands, job->outputs);
  if (!batch.ok()) return batch.status();
  job->batch = *std::move(batch);
  return absl::OkStatus();
}

}  // namespace

void EvaluateRequestAsync(const EvaluationContext& context, IncomingRequest request,
                          MemoryBudget::Reservation reservation,
                          std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done) {
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  job->request_reservation = std::move(reservation);
  job->cancelled = std::move(cancelled);
  job->done = std::move(done);
  absl::Status status;
  try {
    status = Prepare(context, job.get());
  } catch (const std::bad_alloc&) {
    status = OutOfMemory();
  }
  if (!status.ok()) return job->End(std::move(status), {}, false);
  const int64_t tasks = job->batch->tasks();
  if (job->request.parsed.operands.input.size() <= kInlineBytes) {
    static thread_local Scratch scratch;
    for (int64_t i = 0; i < tasks; ++i) job->batch->RunTask(i, &scratch);
    return job->Finish();
  }
  job->left = tasks;
  const auto queue = WorkerPool::NewQueue();
  for (int64_t i = 0; i < tasks; ++i) {
    context.pool->Submit(queue, [job, i](Scratch* scratch) {
      if (!*job->cancelled) job->batch->RunTask(i, scratch);
      if (--job->left == 0) job->Finish();
    });
  }
}

}  // namespace lossd
