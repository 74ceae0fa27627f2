#include "server/loss_service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lossd/v1/service.pb.h"
#include "server/combine.h"
#include "server/engine/call_counter.h"
#include "server/engine/memory_budget.h"
#include "server/final_status.h"
#include "server/many_reactor.h"
#include "server/request_evaluation.h"
#include "server/request_reader.h"
#include "server/stream_reactor.h"

namespace lossd {
namespace {

/// Reads a request. `reservation`, for its bytes, is made first: what is refused has not been
/// copied.
absl::StatusOr<IncomingRequest> Admit(const EvaluationContext& context,
                                      const grpc::ByteBuffer& bytes,
                                      MemoryBudget::Reservation* reservation) {
  auto reserved = context.budget->Reserve(bytes.Length());
  if (!reserved.ok()) return reserved.status();
  auto request = ReadRequest(bytes, context.plan_limits, context.forms, &*reserved);
  if (request.ok()) *reservation = *std::move(reserved);
  return request;
}

/// The answer to a small call.
absl::StatusOr<std::vector<grpc::Slice>> EvaluateSmall(const EvaluationContext& context,
                                                       const grpc::ByteBuffer& bytes) {
  MemoryBudget::Reservation reservation;
  auto request = Admit(context, bytes, &reservation);
  if (!request.ok()) return request.status();
  return EvaluateSmallRequest(context, *std::move(request), std::move(reservation));
}

/// A call that takes its time, and is told where it is cancelled.
class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  UnaryReactor(const EvaluationContext& context, grpc::CallbackServerContext* call)
      : context_(context), counted_(context.calls), call_(call) {}

  void Evaluate(const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response) {
    MemoryBudget::Reservation reservation;
    auto request = Admit(context_, bytes, &reservation);
    if (!request.ok()) return Answer(request.status());
    EvaluateRequestAsync(context_, *std::move(request), std::move(reservation), cancelled_,
                         Answering(response));
  }

  void Combine(const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response) {
    auto reservation = context_.budget->Reserve(bytes.Length());
    if (!reservation.ok()) return Answer(reservation.status());
    CombineAsync(context_, bytes, *std::move(reservation), cancelled_, Answering(response));
  }

  /// The first answer counts.
  void Answer(const absl::Status& status) {
    if (!answered_.exchange(true)) Finish(FinalStatus(call_, status));
  }

  void OnCancel() override { *cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  EvaluationDone Answering(grpc::ByteBuffer* response) {
    return [this, response](const absl::Status& status, const std::vector<grpc::Slice>& encoded) {
      if (status.ok()) *response = grpc::ByteBuffer(encoded.data(), encoded.size());
      Answer(status);
    };
  }

  const EvaluationContext& context_;
  const CallCounter::Handle counted_;
  grpc::CallbackServerContext* const call_;
  std::atomic<bool> answered_ = false;
  // Outlives the call.
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

/// Ends a call at once. gRPC wakes a thread of its own for the end of every reactor but its default
/// one, which took a tenth of a small call's time. That one hears nothing of a cancellation, for
/// which a short call has no use.
grpc::ServerUnaryReactor* Ended(grpc::CallbackServerContext* call, const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = call->DefaultReactor();
  reactor->Finish(FinalStatus(call, status));
  return reactor;
}

/// A reactor that `begin` starts, or one that refuses where there is no memory for it: gRPC
/// swallows exceptions, and the call would never end, or its method not be implemented.
template <typename Begin>
grpc::ServerUnaryReactor* NewUnaryReactor(const EvaluationContext& context,
                                          grpc::CallbackServerContext* call, const Begin& begin) {
  UnaryReactor* reactor = nullptr;
  try {
    reactor = new UnaryReactor(context, call);  // Deletes itself.
    begin(reactor);
  } catch (const std::bad_alloc&) {
    if (reactor == nullptr) return Ended(call, OutOfMemoryOrCode());
    reactor->Answer(OutOfMemoryOrCode());
  }
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* LossService::Evaluate(grpc::CallbackServerContext* call,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  if (!IsSmall(request->Length())) {
    return NewUnaryReactor(context_, call,
                           [=](UnaryReactor* reactor) { reactor->Evaluate(*request, response); });
  }
  try {
    const auto encoded = EvaluateSmall(context_, *request);
    if (encoded.ok()) *response = grpc::ByteBuffer(encoded->data(), encoded->size());
    return Ended(call, encoded.status());
  } catch (const std::bad_alloc&) {
    return Ended(call, OutOfMemoryOrCode());
  }
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LossService::EvaluateMany(
    grpc::CallbackServerContext* call) {
  return NewManyReactor(context_, call);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LossService::EvaluateStream(
    grpc::CallbackServerContext* call) {
  return NewStreamReactor(context_, call);
}

grpc::ServerUnaryReactor* LossService::Combine(grpc::CallbackServerContext* call,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  return NewUnaryReactor(context_, call,
                         [=](UnaryReactor* reactor) { reactor->Combine(*request, response); });
}

grpc::ServerUnaryReactor* LossService::GetServerInfo(grpc::CallbackServerContext* call,
                                                     const v1::GetServerInfoRequest* /*request*/,
                                                     v1::GetServerInfoResponse* response) {
  *response = info_;
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace lossd
