#include "server/loss_service.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/load.h"
#include "core/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/tensor_codec.h"
#include "server/many_reactor.h"
#include "server/request_evaluation.h"
#include "server/stream_reactor.h"

namespace lossd {
namespace {

class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  void Start(const EvaluationContext& context, const v1::EvaluateRequest& request,
             v1::EvaluateResponse* response) {
    EvaluateRequestAsync(context, request, response, cancelled_,
                         [this](const absl::Status& status) { Finish(ToGrpc(status)); });
  }

  void OnCancel() override { *cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
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
  std::string bytes(SizeOf(dtype), '\0');
  StoreFromDouble(dtype, ReducedLoss(*combined),
                  reinterpret_cast<std::byte*>(bytes.data()));  // NOLINT(*-cast)
  FillTensor({dtype, {}}, std::move(bytes), /*typed=*/true, response->mutable_loss());
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* LossService::Evaluate(grpc::CallbackServerContext* /*call*/,
                                                const v1::EvaluateRequest* request,
                                                v1::EvaluateResponse* response) {
  auto* reactor = new UnaryReactor();  // Deletes itself in OnDone.
  reactor->Start(context_, *request, response);
  return reactor;
}

grpc::ServerBidiReactor<v1::EvaluateManyRequest, v1::EvaluateManyResponse>*
LossService::EvaluateMany(grpc::CallbackServerContext* call) {
  return NewManyReactor(context_, call);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LossService::EvaluateStream(
    grpc::CallbackServerContext* call) {
  return NewStreamReactor(context_, call);
}

grpc::ServerUnaryReactor* LossService::Combine(grpc::CallbackServerContext* call,
                                               const v1::CombineRequest* request,
                                               v1::CombineResponse* response) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(ToGrpc(CombineSummaries(*request, response)));
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
