#include "server/stream_reactor.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/slice.h>

#include <chrono>
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
#include "core/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/lend.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/stream_codec.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/wire_write.h"
#include "server/engine/call_counter.h"
#include "server/engine/stream_session.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"

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

class StreamReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public std::enable_shared_from_this<StreamReactor> {
 public:
  StreamReactor(const EvaluationContext& context, grpc::CallbackServerContext* call)
      : context_(context), call_(call), counted_(context.calls) {}

  void Start(std::shared_ptr<StreamReactor> self) {
    self_ = std::move(self);
    clock_ = context_.watch->NewClock([weak = weak_from_this()] {
      if (const auto held = weak.lock()) held->OnIdle();
    });
    clock_->Set(context_.header_wait);
    const std::lock_guard<std::mutex> lock(mutex_);
    Pump();
  }

  // Bytes are copied without the mutex, for which workers would wait that have something to send;
  // and meanwhile the next message is read. One thread takes messages at a time, in order.
  void OnReadDone(bool ok) override {
    std::unique_lock<std::mutex> lock(mutex_);
    reading_ = false;
    clock_->Set(context_.idle_stream);
    if (ok) {
      messages_.emplace_back().Swap(&incoming_);
    } else {
      half_closed_ = true;
    }
    if (taking_) return;
    taking_ = true;
    while (!messages_.empty() && status_.ok() && !cancelled_) {
      grpc::ByteBuffer message;
      message.Swap(&messages_.front());
      messages_.pop_front();
      coming_ = static_cast<int64_t>(message.Length());
      Pump();
      lock.unlock();
      const absl::Status taken = TakeOrRefuse(&message);
      lock.lock();
      coming_ = 0;
      if (status_.ok()) status_ = taken;
    }
    taking_ = false;
    if (half_closed_ && status_.ok() && !cancelled_) status_ = End();
    if (!status_.ok() && session_ != nullptr) session_->Cancel();
    Pump();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    clock_->Set(context_.idle_stream);
    if (!ok) cancelled_ = true;
    Pump();
  }

  void OnCancel() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    if (session_ != nullptr) session_->Cancel();
    Pump();
  }

  void OnDone() override { self_.reset(); }

 private:
  // gRPC swallows exceptions, and the call would never end.
  absl::Status TakeOrRefuse(grpc::ByteBuffer* buffer) {
    try {
      return Take(buffer);
    } catch (const std::bad_alloc&) {
      return OutOfMemory();
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
      v1::EvaluateStreamHeader header;
      LOSSD_RETURN_IF_ERROR(
          ParseMessage(fields.Joined(Request::kHeaderFieldNumber), "header", &header));
      LOSSD_RETURN_IF_ERROR(Open(header));
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

  absl::Status Open(const v1::EvaluateStreamHeader& header) {
    if (session_ != nullptr) {
      return InvalidField("header", "HEADER_REPEATED", "expected it in the first message only");
    }
    auto plan = ParseHeader(header, context_.plan_limits);
    if (!plan.ok()) return plan.status();
    // The session may outlive the call for as long as a task runs: no owning pointer back.
    auto session = StreamSession::Create(*std::move(plan), context_.stream_limits, context_.pool,
                                         context_.budget, [weak = weak_from_this()] {
                                           if (const auto self = weak.lock()) self->OnProgress();
                                         });
    if (!session.ok()) return session.status();
    const std::lock_guard<std::mutex> lock(mutex_);
    session_ = *std::move(session);
    if (cancelled_ || !status_.ok()) session_->Cancel();
    return absl::OkStatus();
  }

  absl::Status End() {
    if (session_ != nullptr) return session_->Close();
    return InvalidField("header", "HEADER_MISSING", "expected a message before the stream ended");
  }

  /// The peer has neither sent nor taken anything for too long.
  void OnIdle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_ || cancelled_ || !status_.ok()) return;
    const bool header = session_ == nullptr;
    const auto seconds = [](std::chrono::milliseconds time) {
      return absl::FormatDuration(absl::FromChrono(time));
    };
    status_ = header
                  ? FieldError(absl::StatusCode::kDeadlineExceeded, "header", "HEADER_WAIT",
                               absl::StrCat("expected it within ", seconds(context_.header_wait)))
                  : FieldError(absl::StatusCode::kDeadlineExceeded, "", "IDLE_STREAM",
                               absl::StrCat("no byte was read or written for ",
                                            seconds(context_.idle_stream)));
    if (session_ != nullptr) session_->Cancel();
    // A write that its reader does not take would hold the end back for ever.
    if (writing_) call_->TryCancel();
    Pump();
  }

  void OnProgress() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (status_.ok()) status_ = session_->status();
    Pump();
  }

  // With mutex_ held: starts whatever can be started. At most one read and one write are under way,
  // and nothing after Finish: gRPC 1.51 aborts the process otherwise.
  void Pump() {
    if (finished_) return;
    if (cancelled_ || !status_.ok()) {
      if (writing_) return;
      return End(cancelled_ ? grpc::Status(grpc::CANCELLED, "the call was cancelled")
                            : ToGrpc(status_));
    }
    if (session_ != nullptr && !writing_) Write();
    if (session_ != nullptr && last_written_ && !writing_) return End(grpc::Status::OK);
    // A session is opened by the first message: the second one waits for it.
    const bool wants =
        session_ == nullptr ? !taking_ : messages_.empty() && session_->WantsOperands(coming_);
    if (!reading_ && !half_closed_ && wants) {
      reading_ = true;
      incoming_.Clear();
      StartRead(&incoming_);
    }
  }

  void Write() {
    const auto reply = session_->TakeReply();
    if (!reply) return;
    outgoing_ = Encode(*reply);
    last_written_ = reply->summary.has_value();
    writing_ = true;
    StartWrite(&outgoing_);
  }

  void End(const grpc::Status& status) {
    finished_ = true;
    clock_->Stop();
    // Before the peer learns of the end and begins another stream.
    if (status.ok()) session_->GiveBack();
    Finish(status);
  }

  const EvaluationContext& context_;
  grpc::CallbackServerContext* const call_;
  const CallCounter::Handle counted_;
  std::shared_ptr<StreamReactor> self_;
  std::shared_ptr<IdleWatch::Clock> clock_;

  std::mutex mutex_;
  grpc::ByteBuffer incoming_;
  std::deque<grpc::ByteBuffer> messages_;  // Received, not yet taken: one at most.
  int64_t coming_ = 0;                     // Bytes of the message that is being taken.
  bool taking_ = false;
  grpc::ByteBuffer outgoing_;
  std::shared_ptr<StreamSession> session_;
  absl::Status status_;
  bool reading_ = false;
  bool writing_ = false;
  bool half_closed_ = false;
  bool last_written_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* NewStreamReactor(
    const EvaluationContext& context, grpc::CallbackServerContext* call) {
  auto reactor = std::make_shared<StreamReactor>(context, call);
  reactor->Start(reactor);
  return reactor.get();
}

}  // namespace lossd
