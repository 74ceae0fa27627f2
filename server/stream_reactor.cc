#include "server/stream_reactor.h"

#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "server/engine/stream_session.h"
#include "server/request_evaluation.h"

namespace lossd {
namespace {

absl::Span<const std::byte> AsBytes(const std::string& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};  // NOLINT(*-cast)
}

std::string* FieldOf(Output output, v1::EvaluateStreamResponse* response) {
  switch (output) {
    case Output::kLoss:
      return response->mutable_loss();
    case Output::kLogSumExp:
      return response->mutable_log_sum_exp();
    case Output::kGradTarget:
      return response->mutable_grad_target();
    case Output::kGradWeight:
      return response->mutable_grad_weight();
    default:
      return response->mutable_grad_input();
  }
}

class StreamReactor final
    : public grpc::ServerBidiReactor<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>,
      public std::enable_shared_from_this<StreamReactor> {
 public:
  explicit StreamReactor(const EvaluationContext& context) : context_(context) {}

  void Start(std::shared_ptr<StreamReactor> self) {
    self_ = std::move(self);
    const std::lock_guard<std::mutex> lock(mutex_);
    Pump();
  }

  void OnReadDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    reading_ = false;
    if (!ok) half_closed_ = true;
    if (status_.ok()) status_ = ok ? TakeOrRefuse(incoming_) : End();
    if (!status_.ok() && session_ != nullptr) session_->Cancel();
    Pump();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
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
  absl::Status TakeOrRefuse(const v1::EvaluateStreamRequest& message) {
    try {
      return Take(message);
    } catch (const std::bad_alloc&) {
      return OutOfMemory();
    }
  }

  absl::Status Take(const v1::EvaluateStreamRequest& message) {
    if (message.has_header()) {
      LOSSD_RETURN_IF_ERROR(Open(message.header()));
    } else if (session_ == nullptr) {
      return InvalidField("header", "HEADER_MISSING", "expected it in the first message");
    }
    LOSSD_RETURN_IF_ERROR(session_->Append(Operand::kTarget, AsBytes(message.target())));
    LOSSD_RETURN_IF_ERROR(session_->Append(Operand::kGradOutput, AsBytes(message.grad_output())));
    LOSSD_RETURN_IF_ERROR(session_->Append(Operand::kInput, AsBytes(message.input())));
    return session_->CheckSkew();
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
    session_ = *std::move(session);
    return absl::OkStatus();
  }

  absl::Status End() {
    if (session_ != nullptr) return session_->Close();
    return InvalidField("header", "HEADER_MISSING", "expected a message before the stream ended");
  }

  void OnProgress() {
    const std::lock_guard<std::mutex> lock(mutex_);
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
    const bool wants = session_ == nullptr || session_->WantsOperands();
    if (!reading_ && !half_closed_ && wants) {
      reading_ = true;
      incoming_.Clear();
      StartRead(&incoming_);
    }
  }

  void Write() {
    const auto reply = session_->TakeReply();
    if (!reply) return;
    outgoing_.Clear();
    for (const OutputPart& part : reply->parts) {
      FieldOf(part.output, &outgoing_)
          ->assign(reinterpret_cast<const char*>(part.bytes.data()),  // NOLINT(*-cast)
                   part.bytes.size());
    }
    if (reply->summary) {
      ToWire(*reply->summary, outgoing_.mutable_summary());
      last_written_ = true;
    }
    writing_ = true;
    StartWrite(&outgoing_);
  }

  void End(const grpc::Status& status) {
    finished_ = true;
    Finish(status);
  }

  const EvaluationContext& context_;
  std::shared_ptr<StreamReactor> self_;

  std::mutex mutex_;
  v1::EvaluateStreamRequest incoming_;
  v1::EvaluateStreamResponse outgoing_;
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

grpc::ServerBidiReactor<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>* NewStreamReactor(
    const EvaluationContext& context) {
  auto reactor = std::make_shared<StreamReactor>(context);
  reactor->Start(reactor);
  return reactor.get();
}

}  // namespace lossd
