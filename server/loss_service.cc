#include "server/loss_service.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "lossd/v1/service.grpc.pb.h"
#include "server/combine.h"
#include "server/engine/memory_budget.h"
#include "server/many_reactor.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"
#include "server/request_reader.h"
#include "server/rpc/call_queue.h"
#include "server/stream_reactor.h"
#include "server/unary_method.h"
#include "server/unary_reactor.h"

namespace lossd {
namespace {

using Unary = std::shared_ptr<UnaryReactor>;

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

/// Answers for a computation that ends later.
EvaluationDone Answering(const Unary& call) {
  return [call](const absl::Status& status, const std::vector<grpc::Slice>& response) {
    call->Answer(status, response);
  };
}

void Evaluate(const EvaluationContext& context, const Unary& call,
              const grpc::ByteBuffer& message) {
  MemoryBudget::Reservation reservation;
  auto request = Admit(context, message, &reservation);
  if (!request.ok()) return call->Answer(request.status(), {});
  if (!IsSmall(message.Length())) {
    return EvaluateRequestAsync(context, *std::move(request), std::move(reservation),
                                call->cancelled(), Answering(call));
  }
  const auto response = EvaluateSmallRequest(context, *std::move(request), std::move(reservation));
  call->Answer(response.status(), response.ok() ? *response : std::vector<grpc::Slice>());
}

void Combine(const EvaluationContext& context, const Unary& call, const grpc::ByteBuffer& message) {
  auto reservation = context.budget->Reserve(message.Length());
  if (!reservation.ok()) return call->Answer(reservation.status(), {});
  CombineAsync(context, message, *std::move(reservation), call->cancelled(), Answering(call));
}

}  // namespace

void AddLossService(const EvaluationContext& context, const v1::GetServerInfoResponse& info,
                    CallQueue* queue) {
  const auto path = [](absl::string_view method) {
    return absl::StrCat("/", v1::LossService::service_full_name(), "/", method);
  };
  queue->Add(path("Evaluate"),
             UnaryMethod(context, [&context](const Unary& call, const auto& message) {
               Evaluate(context, call, message);
             }));
  queue->Add(path("Combine"),
             UnaryMethod(context, [&context](const Unary& call, const auto& message) {
               Combine(context, call, message);
             }));
  const grpc::Slice encoded = SerializeMessage(info);
  queue->Add(path("GetServerInfo"),
             UnaryMethod(context, [encoded](const Unary& call, const grpc::ByteBuffer& message) {
               v1::GetServerInfoRequest request;
               call->Answer(ReadMessage(message, &request), {encoded});
             }));
  queue->Add(path("EvaluateMany"),
             [&context](Call* call) { return NewManyReactor(context, call); });
  queue->Add(path("EvaluateStream"),
             [&context](Call* call) { return NewStreamReactor(context, call); });
}

}  // namespace lossd
