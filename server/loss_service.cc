#include "server/loss_service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/status_bridge.h"
#include "server/combine.h"
#include "server/engine/memory_budget.h"
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
  auto request = ReadRequest(bytes, context.plan_limits, context.forms);
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
  explicit UnaryReactor(CallCounter* calls) : counted_(calls) {}

  void Start(const EvaluationContext& context, const grpc::ByteBuffer& bytes,
             grpc::ByteBuffer* response) {
    MemoryBudget::Reservation reservation;
    auto request = Admit(context, bytes, &reservation);
    if (!request.ok()) return Finish(ToGrpc(request.status()));
    EvaluateRequestAsync(context, *std::move(request), std::move(reservation), cancelled_,
                         Answer(response));
  }

  void StartCombine(const EvaluationContext& context, const grpc::ByteBuffer& bytes,
                    grpc::ByteBuffer* response) {
    auto reservation = context.budget->Reserve(bytes.Length());
    if (!reservation.ok()) return Finish(ToGrpc(reservation.status()));
    CombineAsync(context, bytes, *std::move(reservation), cancelled_, Answer(response));
  }

  void OnCancel() override { *cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  EvaluationDone Answer(grpc::ByteBuffer* response) {
    return [this, response](const absl::Status& status, const std::vector<grpc::Slice>& encoded) {
      if (status.ok()) *response = grpc::ByteBuffer(encoded.data(), encoded.size());
      Finish(ToGrpc(status));
    };
  }

  // Outlives the call.
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace

grpc::ServerUnaryReactor* LossService::Evaluate(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  if (IsSmall(request->Length())) {
    // gRPC wakes a thread of its own for the end of every reactor but its default one, which took a
    // tenth of a small call's time. That one hears nothing of a cancellation, for which a short
    // call has no use.
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    auto encoded = EvaluateSmall(context_, *request);
    if (encoded.ok()) *response = grpc::ByteBuffer(encoded->data(), encoded->size());
    reactor->Finish(ToGrpc(encoded.status()));
    return reactor;
  }
  auto* reactor = new UnaryReactor(context_.calls);  // Deletes itself.
  reactor->Start(context_, *request, response);
  return reactor;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LossService::EvaluateMany(
    grpc::CallbackServerContext* call) {
  return NewManyReactor(context_, call);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LossService::EvaluateStream(
    grpc::CallbackServerContext* call) {
  return NewStreamReactor(context_, call);
}

grpc::ServerUnaryReactor* LossService::Combine(grpc::CallbackServerContext* /*call*/,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  auto* reactor = new UnaryReactor();  // Deletes itself.
  reactor->StartCombine(context_, *request, response);
  return reactor;
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
