#include "server/loss_service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/tensor_codec.h"
#include "server/engine/call_count.h"
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
  UnaryReactor(const EvaluationContext& context, grpc::CallbackServerContext* call)
      : context_(context), count_(context.calls), call_(call) {}

  void Start(const grpc::ByteBuffer& bytes, grpc::ByteBuffer* response) {
    try {
      MemoryBudget::Reservation reservation;
      auto request = Admit(context_, bytes, &reservation);
      if (!request.ok()) return Answer(request.status());
      EvaluateRequestAsync(
          context_, *std::move(request), std::move(reservation), cancelled_,
          [this, response](const absl::Status& status, const std::vector<grpc::Slice>& encoded) {
            if (status.ok()) *response = grpc::ByteBuffer(encoded.data(), encoded.size());
            Answer(status);
          });
    } catch (const std::bad_alloc&) {
      // gRPC swallows exceptions, and the call would never end.
      Answer(OutOfMemoryOrCode());
    }
  }

  void OnCancel() override { *cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  void Answer(const absl::Status& status) {
    if (!answered_.exchange(true)) Finish(FinalStatus(call_, status));
  }

  const EvaluationContext& context_;
  const CallCount::Token count_;
  grpc::CallbackServerContext* const call_;
  std::atomic<bool> answered_ = false;
  // Outlives the call.
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

absl::Status CombineSummaries(const v1::CombineRequest& request, v1::CombineResponse* response) {
  std::vector<Summary> summaries;
  summaries.reserve(static_cast<size_t>(request.summaries_size()));
  for (int i = 0; i < request.summaries_size(); ++i) {
    auto summary = ParseSummary(request.summaries(i), absl::StrCat("summaries[", i, "]"));
    if (!summary.ok()) return summary.status();
    summaries.push_back(*std::move(summary));
  }
  const auto combined = Combine(summaries);
  if (!combined.ok()) return combined.status();
  ToWire(*combined, response->mutable_summary());
  if (combined->options.reduction == Reduction::kNone) return absl::OkStatus();
  const DType dtype = LossDType(combined->input_dtype);
  std::array<std::byte, sizeof(double)> bytes{};
  StoreFromDouble(dtype, ReducedLoss(*combined), bytes.data());
  FillTensor({dtype, {}}, {bytes.data(), SizeOf(dtype)}, /*typed=*/true, response->mutable_loss());
  return absl::OkStatus();
}

/// Ends a call at once. gRPC wakes a thread of its own for the end of every reactor but its default
/// one, which took a tenth of a small call's time. That one hears nothing of a cancellation, for
/// which a short call has no use.
grpc::ServerUnaryReactor* Ended(grpc::CallbackServerContext* call, const absl::Status& status) {
  grpc::ServerUnaryReactor* const reactor = call->DefaultReactor();
  reactor->Finish(FinalStatus(call, status));
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* LossService::Evaluate(grpc::CallbackServerContext* call,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  try {
    if (IsSmall(request->Length())) {
      const auto encoded = EvaluateSmall(context_, *request);
      if (encoded.ok()) *response = grpc::ByteBuffer(encoded->data(), encoded->size());
      return Ended(call, encoded.status());
    }
    auto* reactor = new UnaryReactor(context_, call);  // Deletes itself.
    reactor->Start(*request, response);
    return reactor;
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

grpc::ServerUnaryReactor* LossService::Combine(grpc::CallbackServerContext* /*call*/,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  try {
    v1::CombineRequest parsed;
    v1::CombineResponse combined;
    absl::Status status = ParseMessage(*request, &parsed);
    if (status.ok()) status = CombineSummaries(parsed, &combined);
    if (status.ok()) {
      const grpc::Slice slice = SerializeMessage(combined);
      *response = grpc::ByteBuffer(&slice, 1);
    }
    return Ended(call, status);
  } catch (const std::bad_alloc&) {
    return Ended(call, OutOfMemoryOrCode());
  }
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
