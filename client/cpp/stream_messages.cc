#include "client/cpp/stream_messages.h"

#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "client/cpp/wire.h"
#include "core/problem/plan.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/lend.h"
#include "proto/codec/wire_write.h"

namespace lossd {
namespace {

using Request = v1::EvaluateStreamRequest;

/// A larger weight is not put into the header.
constexpr size_t kMostHeaderWeight = size_t{64} << 10U;

TensorSource InputOf(const LossRequest& request, const Plan& plan) {
  if (request.read_input) return {InputBytes(plan), &request.read_input};
  return {request.input.bytes, request.owner};
}

}  // namespace

size_t InputBytes(const Plan& plan) {
  return static_cast<size_t>(plan.positions() * plan.classes()) * SizeOf(plan.input().dtype);
}

bool WeightFollows(const LossRequest& request, size_t message_bytes) {
  return request.weight &&
         request.weight->bytes.size() > std::min(kMostHeaderWeight, message_bytes / 2);
}

TensorSource::TensorSource(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner)
    : bytes_(bytes), owner_(std::move(owner)), size_(bytes.size()) {}

TensorSource::TensorSource(size_t size, const Read* read) : read_(read), size_(size) {}

void TensorSource::TakeUntil(size_t end, int field, std::vector<grpc::Slice>* to) {
  const size_t stop = std::min(end, size_);
  if (stop <= sent_) return;
  const size_t count = stop - sent_;
  to->emplace_back(FieldPrefix(field, count));
  if (read_ != nullptr) {
    const grpc::Slice slice(count);
    // A slice may be written as long as nobody else has it: this one is new.
    (*read_)(sent_, {reinterpret_cast<std::byte*>(const_cast<uint8_t*>(slice.begin())),  // NOLINT
                     slice.size()});
    to->push_back(slice);
  } else if (owner_ != nullptr) {
    to->push_back(Lend(bytes_.subspan(sent_, count), owner_));
  } else {
    to->emplace_back(bytes_.data() + sent_, count);
  }
  sent_ = stop;
}

StreamMessages::StreamMessages(const LossRequest& request, const Plan& plan, size_t message_bytes)
    : request_(request),
      indices_(plan.target_kind() == TargetKind::kClassIndex),
      scalar_grad_output_(plan.criterion().reduction != Reduction::kNone),
      message_bytes_(message_bytes),
      target_(request.target.bytes, request.owner),
      input_(InputOf(request, plan)) {
  // request.owner does not own the weight.
  if (plan.weight_follows()) {
    weight_ = TensorSource(request.weight->bytes, nullptr);
  } else if (request.weight) {
    header_weight_ = request.weight->bytes.size();
  }
  if (request.grad_output) grad_output_ = TensorSource(request.grad_output->bytes, request.owner);
  in_step_ = input_.size() + (indices_ ? 0 : target_.size()) +
             (scalar_grad_output_ ? 0 : grad_output_.size());
}

std::vector<grpc::Slice> StreamMessages::Next() {
  std::vector<grpc::Slice> message;
  size_t room = message_bytes_;
  if (!header_sent_) {
    Request first;
    ToWire(request_, weight_.size() > 0, first.mutable_header());
    const std::string header = first.SerializeAsString();
    message.emplace_back(header);
    header_sent_ = true;
    if (header.size() >= room) return message;
    room -= header.size();
  }
  if (!AtEnd()) Fill(room, &message);
  return message;
}

uint64_t StreamMessages::sent() const {
  return (header_sent_ ? header_weight_ : 0) + weight_.sent() + target_.sent() +
         grad_output_.sent() + input_.sent();
}

bool StreamMessages::AtEnd() const {
  return weight_.AtEnd() && target_.AtEnd() && grad_output_.AtEnd() && input_.AtEnd();
}

size_t StreamMessages::Share(const TensorSource& source) const {
  if (reached_ == in_step_) return source.size();
  return static_cast<size_t>(
      absl::Uint128Low64(absl::uint128(source.size()) * reached_ / in_step_));
}

void StreamMessages::Fill(size_t room, std::vector<grpc::Slice>* message) {
  if (!weight_.AtEnd()) {
    return weight_.TakeUntil(weight_.sent() + room, Request::kWeightFieldNumber, message);
  }
  if (indices_ && !target_.AtEnd()) {
    return target_.TakeUntil(target_.sent() + room, Request::kTargetFieldNumber, message);
  }
  // Keep the other tensors at the same position as the input, so that none runs ahead.
  for (const uint64_t before = sent(); sent() == before && !AtEnd();) {
    reached_ += std::min<uint64_t>(room, in_step_ - reached_);
    target_.TakeUntil(Share(target_), Request::kTargetFieldNumber, message);
    grad_output_.TakeUntil(scalar_grad_output_ ? grad_output_.size() : Share(grad_output_),
                           Request::kGradOutputFieldNumber, message);
    input_.TakeUntil(Share(input_), Request::kInputFieldNumber, message);
  }
}

}  // namespace lossd
