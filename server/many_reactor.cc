#include "server/many_reactor.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/wire_write.h"
#include "server/engine/call_counter.h"
#include "server/engine/memory_budget.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"
#include "server/request_reader.h"

namespace lossd {
namespace {

/// Requests that are read and not yet answered; past it reading waits.
constexpr int kMaxOutstanding = 256;

/// A v1.EvaluateManyResponse around an encoded v1.EvaluateResponse.
grpc::ByteBuffer Encode(uint64_t id, std::vector<grpc::Slice> response) {
  v1::EvaluateManyResponse outer;
  outer.set_id(id);
  size_t size = 0;
  for (const grpc::Slice& slice : response) size += slice.size();
  std::string prefix = outer.SerializeAsString();
  prefix += FieldPrefix(v1::EvaluateManyResponse::kResponseFieldNumber, size);
  response.insert(response.begin(), grpc::Slice(prefix));
  return {response.data(), response.size()};
}

grpc::ByteBuffer EncodeError(uint64_t id, const absl::Status& error) {
  v1::EvaluateManyResponse message;
  message.set_id(id);
  *message.mutable_error() = ToProto(error);
  const grpc::Slice slice = SerializeMessage(message);
  return {&slice, 1};
}

class ManyReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          public std::enable_shared_from_this<ManyReactor> {
 public:
  ManyReactor(const EvaluationContext& context, grpc::CallbackServerContext* call)
      : context_(context), call_(call), counted_(context.calls) {}

  void Start(std::shared_ptr<ManyReactor> self) {
    self_ = std::move(self);
    clock_ = context_.watch->NewClock([weak = weak_from_this()] {
      if (const auto held = weak.lock()) held->OnIdle();
    });
    clock_->Set(context_.header_wait);
    const std::lock_guard<std::mutex> lock(mutex_);
    Pump();
  }

  void OnReadDone(bool ok) override {
    // A request that is refused is answered all the same: its bytes are here already.
    auto reservation = context_.budget->Reserve(ok ? incoming_.Length() : 0);
    absl::StatusOr<ManyRequest> request = absl::CancelledError();
    if (ok) request = ReadManyRequest(incoming_, context_.plan_limits, context_.forms);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      reading_ = false;
      clock_->Set(context_.idle_stream);
      if (!request.ok()) {
        if (ok) status_ = request.status();
        half_closed_ = true;
        return Pump();
      }
      ++outstanding_;
    }
    Evaluate(*std::move(request), std::move(reservation));
    const std::lock_guard<std::mutex> lock(mutex_);
    Pump();
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    clock_->Set(context_.idle_stream);
    if (!ok) *cancelled_ = true;
    outbox_.pop_front();
    --outstanding_;
    Pump();
  }

  void OnCancel() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    *cancelled_ = true;
    Pump();
  }

  void OnDone() override { self_.reset(); }

 private:
  /// The peer has neither sent nor taken anything for too long.
  void OnIdle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (finished_) return;
    idle_ = true;
    *cancelled_ = true;
    // A write that its reader does not take would hold the end back for ever.
    if (writing_) call_->TryCancel();
    Pump();
  }

  void Evaluate(ManyRequest many, absl::StatusOr<MemoryBudget::Reservation> reservation) {
    const uint64_t id = many.id;
    if (!many.request.ok()) return Send(id, many.request.status(), {});
    if (!reservation.ok()) return Send(id, reservation.status(), {});
    EvaluateRequestAsync(context_, *std::move(many.request), *std::move(reservation), cancelled_,
                         [self = shared_from_this(), id](const absl::Status& status,
                                                         std::vector<grpc::Slice> response) {
                           self->Send(id,
                                      status.ok() ? status : WithFieldPrefix(status, "request."),
                                      std::move(response));
                         });
  }

  void Send(uint64_t id, const absl::Status& status, std::vector<grpc::Slice> response) {
    grpc::ByteBuffer bytes;
    bool sent = true;
    try {
      bytes = status.ok() ? Encode(id, std::move(response)) : EncodeError(id, status);
    } catch (const std::bad_alloc&) {
      sent = false;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (sent) {
      outbox_.push_back(std::move(bytes));
    } else {
      // The answer is lost, and the stream with it.
      status_ = OutOfMemory();
      --outstanding_;
    }
    Pump();
  }

  // With mutex_ held: starts whatever can be started. At most one read and one write are under way,
  // and nothing after Finish: gRPC 1.51 aborts the process otherwise.
  void Pump() {
    if (finished_) return;
    if (*cancelled_) {
      if (writing_) return;
      finished_ = true;
      clock_->Stop();
      if (!idle_) return Finish({grpc::CANCELLED, "the call was cancelled"});
      return Finish(ToGrpc(FieldError(absl::StatusCode::kDeadlineExceeded, "", "IDLE_STREAM",
                                      "no byte was read or written for too long")));
    }
    if (!writing_ && !outbox_.empty()) {
      writing_ = true;
      StartWrite(&outbox_.front());
    }
    // What was asked before the bad message is answered first.
    if (!status_.ok()) half_closed_ = true;
    if (!reading_ && !half_closed_ && outstanding_ < kMaxOutstanding) {
      reading_ = true;
      incoming_.Clear();
      StartRead(&incoming_);
    }
    if (half_closed_ && outstanding_ == 0) {
      finished_ = true;
      clock_->Stop();
      Finish(ToGrpc(status_));
    }
  }

  const EvaluationContext& context_;
  grpc::CallbackServerContext* const call_;
  const CallCounter::Handle counted_;
  std::shared_ptr<ManyReactor> self_;
  std::shared_ptr<IdleWatch::Clock> clock_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);

  std::mutex mutex_;
  grpc::ByteBuffer incoming_;
  std::deque<grpc::ByteBuffer> outbox_;
  absl::Status status_;
  int outstanding_ = 0;
  bool reading_ = false;
  bool writing_ = false;
  bool half_closed_ = false;
  bool finished_ = false;
  bool idle_ = false;
};

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* NewManyReactor(
    const EvaluationContext& context, grpc::CallbackServerContext* call) {
  auto reactor = std::make_shared<ManyReactor>(context, call);
  reactor->Start(reactor);
  return reactor.get();
}

}  // namespace lossd
