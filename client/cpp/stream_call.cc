#include "client/cpp/stream_call.h"

#include <grpcpp/client_context.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/sync_stream.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "client/cpp/stream_messages.h"
#include "client/cpp/stream_writer.h"
#include "core/problem/plan.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/stream_codec.h"
#include "proto/codec/summary_codec.h"

namespace lossd {
namespace {

using StreamResponse = v1::EvaluateStreamResponse;

/// Opens the stream as the generated stub does, but for raw messages.
std::unique_ptr<RawStream> Open(const std::shared_ptr<grpc::ChannelInterface>& channel,
                                grpc::ClientContext* context) {
  const grpc::internal::RpcMethod method("/lossd.v1.LossService/EvaluateStream",
                                         grpc::internal::RpcMethod::BIDI_STREAMING, channel);
  return std::unique_ptr<RawStream>(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel.get(), method, context));
}

/// Receives the bytes of one output: copies them into its tensor, or passes them to a function.
class Sink {
 public:
  explicit Sink(const Tensor& tensor) : bytes_(tensor.bytes()), size_(tensor.bytes().size()) {}
  /// Passes `size` bytes to `take`.
  Sink(size_t size, std::function<void(absl::Span<const std::byte>)> take)
      : take_(std::move(take)), size_(size) {}

  /// False if the output has fewer bytes.
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
  std::function<void(absl::Span<const std::byte>)> take_;  // If null, bytes go to `bytes_`.
  size_t size_;
  size_t filled_ = 0;
};

absl::Status BadReply(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the server's reply is not what was asked for: ", what));
}

absl::Status ReadAll(const LossRequest& request, const Plan& plan, StreamWriter* call,
                     LossResult* result, bool* read_to_end) {
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
  while (call->stream()->Read(&message)) {
    grpc::ProtoBufferReader reader(&message);
    WireFields fields;
    if (!WireFields::Read(&reader, *StreamResponse::descriptor(), WireFields::Unknown::kSkip,
                          &fields)
             .ok()) {
      return BadReply("no EvaluateStreamResponse");
    }
    if (!loss.Append(fields.pieces(StreamResponse::kLossFieldNumber)) ||
        !log_sum_exp.Append(fields.pieces(StreamResponse::kLogSumExpFieldNumber)) ||
        !grad_input.Append(fields.pieces(StreamResponse::kGradInputFieldNumber)) ||
        !grad_target.Append(fields.pieces(StreamResponse::kGradTargetFieldNumber)) ||
        !grad_weight.Append(fields.pieces(StreamResponse::kGradWeightFieldNumber))) {
      return BadReply("more bytes than an output holds");
    }
    if (fields.has(StreamResponse::kSummaryFieldNumber)) {
      v1::Summary wire;
      if (!wire.ParseFromString(fields.Joined(StreamResponse::kSummaryFieldNumber))) {
        return BadReply("a summary that is none");
      }
      auto summary = DecodeSummary(wire, "summary");
      if (!summary.ok()) return BadReply(summary.status().message());
      result->summary = *std::move(summary);
      has_summary = true;
    }
    if (request.progress) {
      request.progress(call->sent(), loss.filled() + log_sum_exp.filled() + grad_input.filled() +
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

absl::Status RunStreamCall(const LossRequest& request, const Plan& plan, size_t message_bytes,
                           const std::shared_ptr<grpc::ChannelInterface>& channel,
                           std::unique_ptr<grpc::ClientContext> context, LossResult* result) {
  auto stream = Open(channel, context.get());
  // The two directions need two threads: the server stops reading while its replies are not read.
  StreamWriter call(StreamMessages(request, plan, message_bytes), std::move(context),
                    std::move(stream));
  bool read_to_end = false;
  absl::Status read = ReadAll(request, plan, &call, result, &read_to_end);
  // Cancel only a stream that goes on: at its end, a cancel would hide the server's status.
  if (!read_to_end) call.context()->TryCancel();
  absl::Status finished = FromGrpc(call.stream()->Finish());
  // The server's error explains a reply that was cut short. CANCELLED from our own cancel does not.
  if (!finished.ok() && finished.code() != absl::StatusCode::kCancelled) return finished;
  return read.ok() ? finished : read;
}

}  // namespace lossd
