#include "server/stream_reactor.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/problem/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/criterion_codec.h"
#include "proto/codec/lend.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/stream_codec.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/wire_write.h"
#include "server/call_reactor.h"
#include "server/engine/memory_budget.h"
#include "server/engine/stream_session.h"
#include "server/final_status.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {
namespace {

int FieldOf(Output output) {
  switch (output) {
    case Output::kLoss:
      return v1::EvaluateStreamResponse::kLossFieldNumber;
    case Output::kLogSumExp:
      return v1::EvaluateStreamResponse::kLogSumExpFieldNumber;
    case Output::kGradTarget:
      return v1::EvaluateStreamResponse::kGradTargetFieldNumber;
    case Output::kGradWeight:
      return v1::EvaluateStreamResponse::kGradWeightFieldNumber;
    default:
      return v1::EvaluateStreamResponse::kGradInputFieldNumber;
  }
}

/// The wire form of a reply; outputs are lent, not copied.
grpc::ByteBuffer Encode(const StreamReply& reply) {
  std::vector<grpc::Slice> slices;
  for (const OutputPart& part : reply.parts) {
    slices.emplace_back(FieldPrefix(FieldOf(part.output), part.bytes.size()));
    slices.push_back(Lend(part.bytes, part.owner));
  }
  if (reply.summary) {
    v1::EvaluateStreamResponse rest;
    ToWire(*reply.summary, rest.mutable_summary());
    slices.push_back(SerializeMessage(rest));
  }
  return {slices.data(), slices.size()};
}

class StreamReactor final : public CallReactor {
 public:
  StreamReactor(const EvaluationContext& context, Call* call) : CallReactor(context, call) {}

 private:
  // Bytes are copied without the mutex, because workers with outputs to send would wait for it; the
  // next message is read meanwhile. Only one thread at a time takes messages, in order.
  void Received(std::unique_lock<std::mutex>* lock) override {
    messages_.emplace_back().Swap(incoming());
    if (taking_) return;
    taking_ = true;
    while (!messages_.empty() && !ended()) {
      grpc::ByteBuffer message;
      message.Swap(&messages_.front());
      messages_.pop_front();
      coming_ = static_cast<int64_t>(message.Length());
      Advance();
      lock->unlock();
      absl::Status taken = TakeOrRefuse(&message);
      lock->lock();
      coming_ = 0;
      if (!taken.ok()) EndEarly(std::move(taken));
    }
    taking_ = false;
    if (ended()) Release();
    CheckWhole();
  }

  void HalfClosed() override {
    half_closed_ = true;
    if (!taking_) CheckWhole();
  }

  void Written() override { outgoing_.Clear(); }

  void Advance() override {
    if (session_ != nullptr && !writing()) WriteNext();
    if (session_ != nullptr && last_written_ && !writing()) return End(absl::OkStatus());
    // The first message opens the session; the second message is read only after that.
    const bool wants =
        session_ == nullptr ? !taking_ : messages_.empty() && session_->WantsOperands(coming_);
    if (!reading() && !half_closed_ && wants) Read();
  }

  void Stop() override {
    if (session_ != nullptr) session_->Cancel();
  }

  void Release() override {
    outgoing_.Clear();
    messages_.clear();
    if (session_ == nullptr) return;
    // A task that has just ended may hold the session a little longer.
    if (last_written_) session_->GiveBack();
    if (!taking_) session_.reset();
  }

  [[nodiscard]] absl::Status FirstMissing() const override {
    return FieldError(absl::StatusCode::kDeadlineExceeded, "header", "HEADER_WAIT",
                      absl::StrCat("expected it within ",
                                   absl::FormatDuration(absl::FromChrono(context_.header_wait))));
  }

  absl::Status TakeOrRefuse(grpc::ByteBuffer* buffer) {
    try {
      return Take(buffer);
    } catch (const std::bad_alloc&) {
      return OutOfMemoryOrCode();
    }
  }

  absl::Status Take(grpc::ByteBuffer* buffer) {
    using Request = v1::EvaluateStreamRequest;
    grpc::ProtoBufferReader reader(buffer);
    if (!reader.status().ok()) {
      return absl::InternalError("the message cannot be read: its compression is unknown");
    }
    WireFields fields;
    LOSSD_RETURN_IF_ERROR(
        WireFields::Read(&reader, *Request::descriptor(), WireFields::Unknown::kRefuse, &fields));
    if (fields.has(Request::kHeaderFieldNumber)) {
      LOSSD_RETURN_IF_ERROR(TakeHeader(fields));
    } else if (session_ == nullptr) {
      return InvalidField("header", "HEADER_MISSING", "expected it in the first message");
    }
    LOSSD_RETURN_IF_ERROR(Append(Operand::kWeight, fields.pieces(Request::kWeightFieldNumber)));
    LOSSD_RETURN_IF_ERROR(Append(Operand::kTarget, fields.pieces(Request::kTargetFieldNumber)));
    LOSSD_RETURN_IF_ERROR(
        Append(Operand::kGradOutput, fields.pieces(Request::kGradOutputFieldNumber)));
    LOSSD_RETURN_IF_ERROR(Append(Operand::kInput, fields.pieces(Request::kInputFieldNumber)));
    return session_->EndMessage();
  }

  absl::Status Append(Operand operand, const Pieces& pieces) {
    for (const auto& piece : pieces) LOSSD_RETURN_IF_ERROR(session_->Append(operand, piece));
    return absl::OkStatus();
  }

  absl::Status TakeHeader(const WireFields& fields) {
    constexpr int kHeader = v1::EvaluateStreamRequest::kHeaderFieldNumber;
    // Until the session has reserved the memory that stays, this reservation covers the joined
    // header, its copy in the message, and its weights widened to doubles.
    auto held = context_.budget->Reserve(SaturatingMultiply(fields.size(kHeader), 2));
    if (!held.ok()) return held.status();
    const auto admit = [&held](uint64_t number_bytes) {
      return held->Grow(SaturatingMultiply(number_bytes, 4));
    };
    v1::EvaluateStreamHeader header;
    LOSSD_RETURN_IF_ERROR(ParseMessage(fields.Joined(kHeader), "header", &header, admit));
    const size_t weight_bytes = RawWeightBytes(header.criterion());
    LOSSD_RETURN_IF_ERROR(held->Grow(SaturatingMultiply(weight_bytes, 4)));
    return Open(header);
  }

  absl::Status Open(const v1::EvaluateStreamHeader& header) {
    if (session_ != nullptr) {
      return InvalidField("header", "HEADER_REPEATED", "expected it in the first message only");
    }
    auto plan = ParseHeader(header, context_.plan_limits);
    if (!plan.ok()) return plan.status();
    // A running task may keep the session alive after the call, so it must not own this reactor.
    auto session = StreamSession::Create(*std::move(plan), context_.stream_limits, context_.pool,
                                         context_.budget, [weak = weak_from_this()] {
                                           if (const auto self = weak.lock()) {
                                             static_cast<StreamReactor*>(self.get())->OnProgress();
                                           }
                                         });
    if (!session.ok()) return session.status();
    const std::lock_guard<std::mutex> lock(mutex_);
    session_ = *std::move(session);
    if (ended()) session_->Cancel();
    return absl::OkStatus();
  }

  /// Once the peer sends no more bytes, checks that all have arrived.
  void CheckWhole() {
    if (!half_closed_ || ended()) return;
    absl::Status whole = session_ != nullptr
                             ? session_->Close()
                             : InvalidField("header", "HEADER_MISSING",
                                            "expected a message before the stream ended");
    if (!whole.ok()) EndEarly(std::move(whole));
  }

  void OnProgress() {
    React([this](auto* lock) {
      lock->lock();
      if (session_ == nullptr) return;
      if (auto status = session_->status(); !status.ok()) EndEarly(std::move(status));
    });
  }

  void WriteNext() {
    const auto reply = session_->TakeReply();
    if (!reply) return;
    outgoing_ = Encode(*reply);
    last_written_ = reply->summary.has_value();
    Write(outgoing_);
  }

  std::deque<grpc::ByteBuffer> messages_;  // Received, not yet taken: one at most.
  int64_t coming_ = 0;                     // Bytes of the message that is being taken.
  bool taking_ = false;
  grpc::ByteBuffer outgoing_;
  std::shared_ptr<StreamSession> session_;  // Reset only at the end, while no message is taken.
  bool half_closed_ = false;
  bool last_written_ = false;
};

}  // namespace

std::shared_ptr<Reactor> NewStreamReactor(const EvaluationContext& context, Call* call) {
  return std::make_shared<StreamReactor>(context, call);
}

}  // namespace lossd
