#include "server/evaluation.h"

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/batch.h"
#include "core/buffer.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/lend.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/tensor_codec.h"
#include "proto/codec/wire_write.h"
#include "server/engine/footprint.h"
#include "server/engine/memory_budget.h"
#include "server/request_reader.h"

namespace lossd {
namespace {

size_t Aligned(size_t size) {
  constexpr size_t kAlign = Buffer::kAlignment;
  return (size + kAlign - 1) / kAlign * kAlign;
}

/// The encoded response with its tensors as typed values.
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

}  // namespace

Evaluation::Evaluation(IncomingRequest request)
    : request_(std::move(request)), sizes_(SizesOf(plan())) {}

size_t Evaluation::OutputBytes() const {
  return Aligned(sizes_.loss) + Aligned(sizes_.log_sum_exp) + Aligned(sizes_.grad_weight) +
         Aligned(sizes_.grad_target) + Aligned(sizes_.grad_input);
}

absl::StatusOr<MemoryBudget::Reservation> Evaluation::Reserve(
    MemoryBudget* budget, const MemoryBudget::Reservation& message, int threads) const {
  uint64_t bytes = KeptBytes(plan());
  for (const size_t size : {sizes_.loss, sizes_.log_sum_exp, sizes_.grad_input, sizes_.grad_target,
                            sizes_.grad_weight}) {
    bytes = SaturatingAdd(bytes, size);
  }
  bytes = SaturatingAdd(bytes, TaskScratchBytes(plan(), plan().positions(), threads));
  return budget->Reserve(bytes, message);
}

absl::Status Evaluation::Begin(std::byte* memory) {
  const auto take = [&](size_t size) -> std::byte* {
    return size == 0 ? nullptr : std::exchange(memory, memory + Aligned(size));
  };
  outputs_ = {take(sizes_.loss), take(sizes_.log_sum_exp), take(sizes_.grad_input),
              take(sizes_.grad_target), take(sizes_.grad_weight)};
  auto batch = BatchEvaluation::Create(request_.parsed.plan, request_.parsed.operands, outputs_);
  if (!batch.ok()) return batch.status();
  batch_ = *std::move(batch);
  return absl::OkStatus();
}

std::vector<grpc::Slice> Evaluation::Respond(std::shared_ptr<const void> owner, bool* lends) {
  const Summary summary = batch_->Finish();
  SliceBuilder builder(std::move(owner));
  if (request_.parsed.typed) {
    *builder.text() = TypedResponse(plan(), outputs_, sizes_, summary);
  } else if (request_.form != nullptr) {
    AppendRaw(request_.form->frame(), summary, &builder);
  } else {
    AppendRaw(FrameOf(plan(), FrameOf(summary)), summary, &builder);
  }
  *lends = builder.lends();
  return builder.Take();
}

void Evaluation::AppendRaw(const ResponseFrame& frame, const Summary& summary,
                           SliceBuilder* to) const {
  to->Append(frame.loss, {outputs_.loss, sizes_.loss});
  to->Append(frame.log_sum_exp, {outputs_.log_sum_exp, sizes_.log_sum_exp});
  to->Append(frame.grad_weight, {outputs_.grad_weight, sizes_.grad_weight});
  AppendSummary(v1::EvaluateResponse::kSummaryFieldNumber, frame.summary, summary, to->text());
  to->Append(frame.grad_target, {outputs_.grad_target, sizes_.grad_target});
  to->Append(frame.grad_input, {outputs_.grad_input, sizes_.grad_input});
}

void Evaluation::Release() {
  batch_.reset();
  request_ = IncomingRequest();
}

}  // namespace lossd
