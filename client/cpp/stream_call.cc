#include "client/cpp/stream_call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "client/cpp/wire.h"
#include "core/plan.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/stream_codec.h"
#include "proto/codec/tensor_codec.h"
#include "proto/codec/wire_write.h"

namespace lossd {
namespace {

/// Raw messages, so that a tensor is copied once each way and not once more by the message classes.
using Stream = grpc::ClientReaderWriterInterface<grpc::ByteBuffer, grpc::ByteBuffer>;
using Request = v1::EvaluateStreamRequest;
using Response = v1::EvaluateStreamResponse;

/// As the generated stub opens it, for raw messages.
std::unique_ptr<Stream> Open(const std::shared_ptr<grpc::ChannelInterface>& channel,
                             grpc::ClientContext* context) {
  const grpc::internal::RpcMethod method("/lossd.v1.LossService/EvaluateStream",
                                         grpc::internal::RpcMethod::BIDI_STREAMING, channel);
  return std::unique_ptr<Stream>(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel.get(), method, context));
}

size_t InputBytes(const Plan& plan) {
  return static_cast<size_t>(plan.positions() * plan.classes()) * SizeOf(plan.input().dtype);
}

/// The next piece of a tensor: as large a part of it as `share` of the whole input.
class Source {
 public:
  explicit Source(absl::Span<const std::byte> bytes) : bytes_(bytes), size_(bytes.size()) {}
  /// A tensor that `read` brings.
  Source(size_t size, std::function<void(uint64_t, absl::Span<std::byte>)> read)
      : read_(std::move(read)), size_(size) {}

  /// Everything up to byte `end`, as a field of a message. Copied: gRPC may hold what it sends for
  /// longer than a call lives that was cancelled.
  void TakeUntil(size_t end, int field, std::vector<grpc::Slice>* to) {
    const size_t stop = std::min(end, size_);
    if (stop <= sent_) return;
    to->emplace_back(FieldPrefix(field, stop - sent_));
    if (read_) {
      const grpc::Slice slice(stop - sent_);
      // A slice is not written after others see it; this one is new.
      read_(sent_, {reinterpret_cast<std::byte*>(const_cast<uint8_t*>(slice.begin())),  // NOLINT
                    slice.size()});
      to->push_back(slice);
    } else {
      to->emplace_back(bytes_.data() + sent_, stop - sent_);
    }
    sent_ = stop;
  }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] bool AtEnd() const { return sent_ == size_; }

 private:
  absl::Span<const std::byte> bytes_;
  std::function<void(uint64_t, absl::Span<std::byte>)> read_;  // Null: `bytes_`.
  size_t size_;
  size_t sent_ = 0;
};

/// Writes everything in an order that the server accepts: class indices first, then the input with
/// the companions that go along with it in step.
class Writer {
 public:
  Writer(const CrossEntropyRequest& request, const Plan& plan)
      : request_(request),
        indices_(plan.target_kind() == TargetKind::kClassIndex),
        chunk_(std::max<size_t>(1, request.chunk_bytes)),
        target_(request.target.bytes),
        grad_output_(request.grad_output ? request.grad_output->bytes
                                         : absl::Span<const std::byte>()),
        input_(request.read_input ? Source(InputBytes(plan), request.read_input)
                                  : Source(request.input.bytes)) {}

  /// Returns early where the server has ended the call: the reader learns why.
  void Run(Stream* stream, std::atomic<uint64_t>* sent) {
    Request first;
    ToWire(request_, first.mutable_header());
    std::vector<grpc::Slice> message = {grpc::Slice(first.SerializeAsString())};
    while (!message.empty() || !AtEnd()) {
      Fill(&message);
      if (!stream->Write(grpc::ByteBuffer(message.data(), message.size()))) return;
      message.clear();
      *sent = target_.sent() + grad_output_.sent() + input_.sent();
    }
    stream->WritesDone();
  }

 private:
  [[nodiscard]] bool AtEnd() const {
    return target_.AtEnd() && grad_output_.AtEnd() && input_.AtEnd();
  }

  void Fill(std::vector<grpc::Slice>* message) {
    if (indices_ && !target_.AtEnd()) {
      return target_.TakeUntil(target_.sent() + chunk_, Request::kTargetFieldNumber, message);
    }
    // Companions reach as far as the input will, so that none of them runs ahead.
    const size_t end = std::min(input_.size(), input_.sent() + chunk_);
    const double share =
        input_.size() == 0 ? 1.0 : static_cast<double>(end) / static_cast<double>(input_.size());
    const auto part = [&](const Source& source) {
      return end == input_.size() ? source.size()
                                  : static_cast<size_t>(share * static_cast<double>(source.size()));
    };
    const bool scalar = request_.options.reduction != Reduction::kNone;
    target_.TakeUntil(part(target_), Request::kTargetFieldNumber, message);
    grad_output_.TakeUntil(scalar ? grad_output_.size() : part(grad_output_),
                           Request::kGradOutputFieldNumber, message);
    input_.TakeUntil(end, Request::kInputFieldNumber, message);
  }

  const CrossEntropyRequest& request_;
  const bool indices_;
  const size_t chunk_;
  Source target_;
  Source grad_output_;
  Source input_;
};

/// Copies appended bytes to their place, or hands them on; false where there are more than the
/// tensor holds.
class Sink {
 public:
  explicit Sink(const Tensor& tensor) : bytes_(tensor.bytes()), size_(tensor.bytes().size()) {}
  /// A tensor that `take` gets.
  Sink(size_t size, std::function<void(absl::Span<const std::byte>)> take)
      : take_(std::move(take)), size_(size) {}

  bool Append(const Pieces& pieces) {
    for (const auto& piece : pieces) {
      if (piece.size() > size_ - filled_) return false;
      if (take_) {
        take_(piece);
      } else if (!piece.empty()) {
        std::memcpy(bytes_.data() + filled_, piece.data(), piece.size());
      }
      filled_ += piece.size();
    }
    return true;
  }
  [[nodiscard]] bool Full() const { return filled_ == size_; }
  [[nodiscard]] size_t filled() const { return filled_; }

 private:
  absl::Span<std::byte> bytes_;
  std::function<void(absl::Span<const std::byte>)> take_;  // Null: `bytes_`.
  size_t size_;
  size_t filled_ = 0;
};

absl::Status BadReply(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the server's reply is not what was asked for: ", what));
}

absl::Status ReadAll(const CrossEntropyRequest& request, const Plan& plan, Stream* stream,
                     const std::atomic<uint64_t>& sent, CrossEntropyResult* result,
                     bool* read_to_end) {
  Sink loss(result->loss);
  Sink log_sum_exp(result->log_sum_exp);
  Sink grad_input(result->grad_input);
  if (plan.outputs().grad_input && request.take_grad_input) {
    grad_input = Sink(InputBytes(plan), request.take_grad_input);
  }
  Sink grad_target(result->grad_target);
  Sink grad_weight(result->grad_weight);
  bool has_summary = false;
  grpc::ByteBuffer message;
  while (stream->Read(&message)) {
    grpc::ProtoBufferReader reader(&message);
    WireFields fields;
    if (!WireFields::Read(&reader, kStreamResponseSubmessages, &fields).ok()) {
      return BadReply("no EvaluateStreamResponse");
    }
    if (!loss.Append(fields.pieces(Response::kLossFieldNumber)) ||
        !log_sum_exp.Append(fields.pieces(Response::kLogSumExpFieldNumber)) ||
        !grad_input.Append(fields.pieces(Response::kGradInputFieldNumber)) ||
        !grad_target.Append(fields.pieces(Response::kGradTargetFieldNumber)) ||
        !grad_weight.Append(fields.pieces(Response::kGradWeightFieldNumber))) {
      return BadReply("more bytes than an output holds");
    }
    if (fields.has(Response::kSummaryFieldNumber)) {
      v1::Summary wire;
      if (!wire.ParseFromString(fields.Joined(Response::kSummaryFieldNumber))) {
        return BadReply("a summary that is none");
      }
      auto summary = ParseSummary(wire, "summary");
      if (!summary.ok()) return BadReply(summary.status().message());
      result->summary = *std::move(summary);
      has_summary = true;
    }
    if (request.progress) {
      request.progress(sent, loss.filled() + log_sum_exp.filled() + grad_input.filled() +
                                 grad_target.filled() + grad_weight.filled());
    }
  }
  *read_to_end = true;
  if (!has_summary) return BadReply("no summary");
  if (!loss.Full() || !log_sum_exp.Full() || !grad_input.Full() || !grad_target.Full() ||
      !grad_weight.Full()) {
    return BadReply("fewer bytes than an output holds");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunStreamCall(const CrossEntropyRequest& request, const Plan& plan,
                           const std::shared_ptr<grpc::ChannelInterface>& channel,
                           grpc::ClientContext* context, CrossEntropyResult* result) {
  const auto stream = Open(channel, context);
  std::atomic<uint64_t> sent = 0;
  // The two directions need two threads: the server stops reading while nobody reads its replies.
  std::thread writer([&] { Writer(request, plan).Run(stream.get(), &sent); });
  bool read_to_end = false;
  absl::Status read = ReadAll(request, plan, stream.get(), sent, result, &read_to_end);
  // Only for a stream that goes on: at its end a cancel would hide the server's status.
  if (!read_to_end) context->TryCancel();
  writer.join();
  absl::Status finished = FromGrpc(stream->Finish());
  // A status from the server says more than the reading that it cut short; our own cancel does not.
  if (!finished.ok() && finished.code() != absl::StatusCode::kCancelled) return finished;
  return read.ok() ? finished : read;
}

}  // namespace lossd
