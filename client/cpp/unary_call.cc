#include "client/cpp/unary_call.h"

#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"
#include "client/cpp/request_plan.h"
#include "client/cpp/response_reader.h"
#include "client/cpp/wire.h"
#include "core/problem/error.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/lend.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/wire_write.h"

namespace lossd {

using Request = v1::EvaluateRequest;

class UnaryForm {
 public:
  static absl::StatusOr<std::shared_ptr<const UnaryForm>> Of(const LossRequest& request);

  /// Whether `request` differs from the form's in nothing but the values of tensors; its weight
  /// must be the same. REQUIRES: ToBeKept().
  [[nodiscard]] bool Fits(const LossRequest& request) const;
  /// Whether the form is worth its memory in a cache.
  [[nodiscard]] bool ToBeKept() const { return to_be_kept_; }

  /// REQUIRES: the form was made of `request`, or Fits(request).
  [[nodiscard]] grpc::ByteBuffer Encode(const LossRequest& request) const;

  [[nodiscard]] const Plan& plan() const { return *plan_; }
  [[nodiscard]] const ResponseFrame& frame() const { return frame_; }
  /// A summary of the plan, without its sums and counts; null unless ToBeKept().
  [[nodiscard]] const Summary* summary() const { return to_be_kept_ ? &summary_ : nullptr; }

 private:
  /// The type, shape and size in bytes of a tensor.
  struct Kind {
    TensorSpec spec;
    size_t size = 0;
    [[nodiscard]] bool Fits(const TensorView& view) const {
      return view.bytes.size() == size && view.spec == spec;
    }
  };
  struct OwnedTensor {
    TensorSpec spec;
    std::vector<std::byte> bytes;
  };
  static constexpr size_t kMostWeightBytes = 4096;

  static Kind KindOf(const TensorView& view) { return {view.spec, view.bytes.size()}; }
  static void AppendHead(int field, const TensorView& view, std::string* to) {
    AppendTensorHead(field, view.spec.dtype, view.spec.shape, view.bytes.size(), to);
  }

  std::shared_ptr<const Plan> plan_;
  Criterion criterion_;
  Outputs outputs_;
  Kind input_;
  Kind target_;
  std::optional<Kind> grad_output_;
  std::optional<OwnedTensor> weight_;
  bool to_be_kept_ = false;
  // The encoded bytes of the request before the raw bytes of each tensor.
  std::string before_target_;
  std::string before_grad_output_;
  std::string before_input_;
  ResponseFrame frame_;
  Summary summary_;
};

absl::StatusOr<std::shared_ptr<const UnaryForm>> UnaryForm::Of(const LossRequest& request) {
  auto plan = MakePlan(request, /*weight_follows=*/false);
  if (!plan.ok()) return plan.status();
  auto form = std::make_shared<UnaryForm>();
  form->plan_ = *std::move(plan);
  form->criterion_ = request.criterion;
  form->outputs_ = request.outputs;
  form->input_ = KindOf(request.input);
  form->target_ = KindOf(request.target);
  form->to_be_kept_ = !request.weight || request.weight->bytes.size() <= kMostWeightBytes;
  Request rest;
  SetCriterion(request, rest.mutable_criterion());
  ToWire(request.outputs, rest.mutable_outputs());
  form->before_target_ = rest.SerializeAsString();
  AppendHead(Request::kTargetFieldNumber, request.target, &form->before_target_);
  if (request.grad_output) {
    form->grad_output_ = KindOf(*request.grad_output);
    AppendHead(Request::kGradOutputFieldNumber, *request.grad_output, &form->before_grad_output_);
  }
  AppendHead(Request::kInputFieldNumber, request.input, &form->before_input_);
  if (form->ToBeKept()) {
    // Not for a large weight: computing its digest takes longer than the cached summary saves.
    if (request.weight) {
      const auto& bytes = request.weight->bytes;
      form->weight_ = {request.weight->spec, {bytes.begin(), bytes.end()}};
    }
    form->summary_ = Summarize(form->plan(), nullptr, RowTotals(form->plan().loss_dtype()));
  }
  form->frame_ = FrameOf(form->plan(), form->ToBeKept() ? FrameOf(form->summary_) : SummaryFrame());
  return std::shared_ptr<const UnaryForm>(std::move(form));
}

bool UnaryForm::Fits(const LossRequest& request) const {
  if (!(request.criterion == criterion_) || !(request.outputs == outputs_) ||
      !input_.Fits(request.input) || !target_.Fits(request.target) ||
      request.grad_output.has_value() != grad_output_.has_value() ||
      request.weight.has_value() != weight_.has_value()) {
    return false;
  }
  if (grad_output_ && !grad_output_->Fits(*request.grad_output)) return false;
  return !weight_ || (request.weight->spec == weight_->spec &&
                      std::equal(request.weight->bytes.begin(), request.weight->bytes.end(),
                                 weight_->bytes.begin(), weight_->bytes.end()));
}

grpc::ByteBuffer UnaryForm::Encode(const LossRequest& request) const {
  if (request.owner != nullptr && input_.size > kLentBytes) {
    SliceBuilder message(request.owner);
    message.Append(before_target_, request.target.bytes);
    if (request.grad_output) message.Append(before_grad_output_, request.grad_output->bytes);
    message.Append(before_input_, request.input.bytes);
    const std::vector<grpc::Slice> slices = message.Take();
    return {slices.data(), slices.size()};
  }
  const size_t grad_bytes = request.grad_output ? request.grad_output->bytes.size() : 0;
  const grpc::Slice slice(before_target_.size() + target_.size + before_grad_output_.size() +
                          grad_bytes + before_input_.size() + input_.size);
  // A slice may be written as long as nobody else has it: this one is new.
  auto* at = const_cast<uint8_t*>(slice.begin());  // NOLINT(*-const-cast)
  const auto put = [&at](const void* bytes, size_t size) {
    if (size == 0) return;
    std::memcpy(at, bytes, size);
    at += size;
  };
  put(before_target_.data(), before_target_.size());
  put(request.target.bytes.data(), target_.size);
  put(before_grad_output_.data(), before_grad_output_.size());
  if (request.grad_output) put(request.grad_output->bytes.data(), grad_bytes);
  put(before_input_.data(), before_input_.size());
  put(request.input.bytes.data(), input_.size);
  return {&slice, 1};
}

UnaryCalls::UnaryCalls(std::shared_ptr<grpc::ChannelInterface> channel)
    : channel_(std::move(channel)),
      method_("/lossd.v1.LossService/Evaluate", grpc::internal::RpcMethod::NORMAL_RPC, channel_) {}

absl::Status UnaryCalls::Run(const LossRequest& request, grpc::ClientContext* context,
                             LossResult* result) {
  const size_t size = request.input.bytes.size() + request.target.bytes.size();
  std::shared_ptr<const UnaryForm> form = forms_.At(size);
  if (form == nullptr || !form->Fits(request)) {
    auto made = UnaryForm::Of(request);
    if (!made.ok()) return made.status();
    form = *std::move(made);
    if (form->ToBeKept()) forms_.Keep(size, form);
  }
  PrepareResult(request, form->plan(), result);
  grpc::ByteBuffer response;
  LOSSD_RETURN_IF_ERROR(
      FromGrpc(grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
          channel_.get(), method_, context, form->Encode(request), &response)));
  return ReadResponse(response, form->frame(), form->summary(), result);
}

}  // namespace lossd
