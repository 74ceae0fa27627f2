#include "client/cpp/stream_call.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "core/plan.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {
namespace {

using Stream =
    grpc::ClientReaderWriterInterface<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>;

v1::EvaluateStreamHeader MakeHeader(const CrossEntropyRequest& request) {
  v1::EvaluateStreamHeader header;
  ToWire(request.options, header.mutable_criterion());
  if (request.weight) {
    const auto bytes = request.weight->bytes;
    FillTensor(request.weight->spec,
               {reinterpret_cast<const char*>(bytes.data()), bytes.size()},  // NOLINT(*-cast)
               /*typed=*/false,
               header.mutable_criterion()->mutable_cross_entropy()->mutable_weight());
  }
  ToWire(request.outputs, header.mutable_outputs());
  ToWire(request.input.spec, header.mutable_input());
  ToWire(request.target.spec, header.mutable_target());
  if (request.grad_output) ToWire(request.grad_output->spec, header.mutable_grad_output());
  return header;
}

/// The next piece of a tensor: as large a part of it as `share` of the whole input.
class Source {
 public:
  explicit Source(absl::Span<const std::byte> bytes) : bytes_(bytes) {}

  /// Everything up to byte `end`.
  void TakeUntil(size_t end, std::string* to) {
    const size_t stop = std::min(end, bytes_.size());
    if (stop <= sent_) return;
    to->assign(reinterpret_cast<const char*>(bytes_.data() + sent_),  // NOLINT(*-cast)
               stop - sent_);
    sent_ = stop;
  }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] bool AtEnd() const { return sent_ == bytes_.size(); }

 private:
  absl::Span<const std::byte> bytes_;
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
        input_(request.input.bytes) {}

  /// Returns early where the server has ended the call: the reader learns why.
  void Run(Stream* stream, std::atomic<uint64_t>* sent) {
    v1::EvaluateStreamRequest message;
    *message.mutable_header() = MakeHeader(request_);
    bool first = true;
    while (first || !AtEnd()) {
      if (!first) message.Clear();
      Fill(&message);
      first = false;
      if (!stream->Write(message)) return;
      *sent = target_.sent() + grad_output_.sent() + input_.sent();
    }
    stream->WritesDone();
  }

 private:
  [[nodiscard]] bool AtEnd() const {
    return target_.AtEnd() && grad_output_.AtEnd() && input_.AtEnd();
  }

  void Fill(v1::EvaluateStreamRequest* message) {
    if (indices_ && !target_.AtEnd()) {
      return target_.TakeUntil(target_.sent() + chunk_, message->mutable_target());
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
    target_.TakeUntil(part(target_), message->mutable_target());
    grad_output_.TakeUntil(scalar ? grad_output_.size() : part(grad_output_),
                           message->mutable_grad_output());
    input_.TakeUntil(end, message->mutable_input());
  }

  const CrossEntropyRequest& request_;
  const bool indices_;
  const size_t chunk_;
  Source target_;
  Source grad_output_;
  Source input_;
};

/// Copies appended bytes to their place; false where there are more than the tensor holds.
class Sink {
 public:
  explicit Sink(const Tensor& tensor) : bytes_(tensor.bytes()) {}

  bool Append(const std::string& piece) {
    if (piece.size() > bytes_.size() - filled_) return false;
    if (!piece.empty()) std::memcpy(bytes_.data() + filled_, piece.data(), piece.size());
    filled_ += piece.size();
    return true;
  }
  [[nodiscard]] bool Full() const { return filled_ == bytes_.size(); }
  [[nodiscard]] size_t filled() const { return filled_; }

 private:
  absl::Span<std::byte> bytes_;
  size_t filled_ = 0;
};

absl::Status BadReply(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the server's reply is not what was asked for: ", what));
}

absl::Status ReadAll(const CrossEntropyRequest& request, Stream* stream,
                     const std::atomic<uint64_t>& sent, CrossEntropyResult* result) {
  Sink loss(result->loss);
  Sink log_sum_exp(result->log_sum_exp);
  Sink grad_input(result->grad_input);
  Sink grad_target(result->grad_target);
  Sink grad_weight(result->grad_weight);
  bool has_summary = false;
  v1::EvaluateStreamResponse message;
  while (stream->Read(&message)) {
    if (!loss.Append(message.loss()) || !log_sum_exp.Append(message.log_sum_exp()) ||
        !grad_input.Append(message.grad_input()) || !grad_target.Append(message.grad_target()) ||
        !grad_weight.Append(message.grad_weight())) {
      return BadReply("more bytes than an output holds");
    }
    if (message.has_summary()) {
      auto summary = ParseSummary(message.summary(), "summary");
      if (!summary.ok()) return BadReply(summary.status().message());
      result->summary = *std::move(summary);
      has_summary = true;
    }
    if (request.progress) {
      request.progress(sent, loss.filled() + log_sum_exp.filled() + grad_input.filled() +
                                 grad_target.filled() + grad_weight.filled());
    }
  }
  if (!has_summary) return BadReply("no summary");
  if (!loss.Full() || !log_sum_exp.Full() || !grad_input.Full() || !grad_target.Full() ||
      !grad_weight.Full()) {
    return BadReply("fewer bytes than an output holds");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunStreamCall(const CrossEntropyRequest& request, const Plan& plan,
                           v1::LossService::StubInterface* stub, grpc::ClientContext* context,
                           CrossEntropyResult* result) {
  const auto stream = stub->EvaluateStream(context);
  std::atomic<uint64_t> sent = 0;
  // The two directions need two threads: the server stops reading while nobody reads its replies.
  std::thread writer([&] { Writer(request, plan).Run(stream.get(), &sent); });
  absl::Status read = ReadAll(request, stream.get(), sent, result);
  if (!read.ok()) context->TryCancel();
  writer.join();
  absl::Status finished = FromGrpc(stream->Finish());
  // A status from the server says more than the reading that it cut short; our own cancel does not.
  if (!finished.ok() && finished.code() != absl::StatusCode::kCancelled) return finished;
  return read.ok() ? finished : read;
}

}  // namespace lossd
