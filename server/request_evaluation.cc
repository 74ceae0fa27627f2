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
#include "core/plan.h"
#include "core/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/tensor_codec.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/message_io.h"

namespace lossd {
namespace {

/// Outputs of more bytes are lent to gRPC and not copied into a message.
constexpr size_t kLentBytes = size_t{16} * 1024;

/// A request under way; owned by its tasks, and then by what gRPC still sends of it.
struct Job : std::enable_shared_from_this<Job> {
  std::unique_ptr<ParsedRequest> parsed;
  MemoryBudget::Reservation request_reservation;
  MemoryBudget::Reservation reservation;
  std::unique_ptr<BatchEvaluation> batch;
  std::string loss;
  std::string log_sum_exp;
  std::string grad_input;
  std::string grad_target;
  std::string grad_weight;
  std::atomic<int64_t> left = 0;
  v1::EvaluateResponse* response = nullptr;
  std::vector<LentTensor> lent;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  EvaluationDone done;

  std::byte* Allocate(std::string* output, size_t size) {
    output->resize(size);
    return size == 0 ? nullptr : reinterpret_cast<std::byte*>(output->data());  // NOLINT(*-cast)
  }

  /// Puts an output into the response, or keeps it here to be lent.
  void Give(int field, const TensorSpec& spec, std::string* output, v1::Tensor* tensor) {
    if (parsed->typed || output->size() <= kLentBytes) {
      return FillTensor(spec, std::move(*output), parsed->typed, tensor);
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(output->data());  // NOLINT(*-cast)
    lent.push_back({field, {spec, {bytes, output->size()}}});
  }

  void Finish() {
    if (*cancelled) return done(absl::CancelledError("the call was cancelled"), {});
    const Plan& plan = *parsed->plan;
    ToWire(batch->Finish(), response->mutable_summary());
    const Outputs& wanted = plan.outputs();
    using Response = v1::EvaluateResponse;
    const TensorSpec each{plan.loss_dtype(), plan.PositionShape()};
    if (wanted.loss) {
      Give(Response::kLossFieldNumber, {plan.loss_dtype(), plan.LossShape()}, &loss,
           response->mutable_loss());
    }
    if (wanted.log_sum_exp) {
      Give(Response::kLogSumExpFieldNumber, each, &log_sum_exp, response->mutable_log_sum_exp());
    }
    if (wanted.grad_input) {
      Give(Response::kGradInputFieldNumber, plan.input(), &grad_input,
           response->mutable_grad_input());
    }
    if (wanted.grad_target) {
      Give(Response::kGradTargetFieldNumber, plan.target(), &grad_target,
           response->mutable_grad_target());
    }
    if (wanted.grad_weight) {
      Give(Response::kGradWeightFieldNumber, {plan.WeightDType(), {plan.classes()}}, &grad_weight,
           response->mutable_grad_weight());
    }
    done(absl::OkStatus(),
         lent.empty() ? std::vector<grpc::Slice>() : EncodeTensors(lent, shared_from_this()));
  }
};

absl::Status Prepare(const EvaluationContext& context, const v1::EvaluateRequest& request,
                     Job* job) {
  auto parsed = ParseRequest(request, context.plan_limits);
  if (!parsed.ok()) return parsed.status();
  job->parsed = *std::move(parsed);
  const Plan& plan = *job->parsed->plan;
  const OutputSizes sizes = SizesOf(plan);
  uint64_t bytes =
      sizes.loss + sizes.log_sum_exp + sizes.grad_input + sizes.grad_target + sizes.grad_weight;
  if (plan.target_kind() == TargetKind::kClassIndex) bytes += Labels::StoredBytes(plan);
  if (plan.outputs().grad_weight) bytes += ClassSums::StoredBytes(plan);
  auto reservation = context.budget->Reserve(bytes);
  if (!reservation.ok()) return reservation.status();
  job->reservation = *std::move(reservation);
  const OutputBuffers outputs{job->Allocate(&job->loss, sizes.loss),
                              job->Allocate(&job->log_sum_exp, sizes.log_sum_exp),
                              job->Allocate(&job->grad_input, sizes.grad_input),
                              job->Allocate(&job->grad_target, sizes.grad_target),
                              job->Allocate(&job->grad_weight, sizes.grad_weight)};
  auto batch = BatchEvaluation::Create(job->parsed->plan, job->parsed->operands, outputs);
  if (!batch.ok()) return batch.status();
  job->batch = *std::move(batch);
  return absl::OkStatus();
}

}  // namespace

void EvaluateRequestAsync(const EvaluationContext& context, const v1::EvaluateRequest& request,
                          MemoryBudget::Reservation reservation, v1::EvaluateResponse* response,
                          std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done) {
  auto job = std::make_shared<Job>();
  job->request_reservation = std::move(reservation);
  absl::Status status;
  try {
    status = Prepare(context, request, job.get());
  } catch (const std::bad_alloc&) {
    status = OutOfMemory();
  }
  if (!status.ok()) return done(std::move(status), {});
  job->response = response;
  job->cancelled = std::move(cancelled);
  job->done = std::move(done);
  const int64_t tasks = job->batch->tasks();
  if (job->parsed->operands.input.size() <= kInlineBytes) {
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
