// The LossService on gRPC's callback API.
#ifndef LOSSD_SERVER_LOSS_SERVICE_H_
#define LOSSD_SERVER_LOSS_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <utility>

#include "lossd/v1/service.grpc.pb.h"
#include "server/request_evaluation.h"

namespace lossd {

/// What carries tensors or sums comes as raw bytes, see message_io.h.
using LossServiceBase = v1::LossService::WithRawCallbackMethod_Evaluate<
    v1::LossService::WithRawCallbackMethod_EvaluateMany<
        v1::LossService::WithRawCallbackMethod_EvaluateStream<
            v1::LossService::WithRawCallbackMethod_Combine<
                v1::LossService::WithCallbackMethod_GetServerInfo<v1::LossService::Service>>>>>;

class LossService final : public LossServiceBase {
 public:
  LossService(const EvaluationContext& context, v1::GetServerInfoResponse info)
      : context_(context), info_(std::move(info)) {}

  grpc::ServerUnaryReactor* Evaluate(grpc::CallbackServerContext* call,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* EvaluateMany(
      grpc::CallbackServerContext* call) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* EvaluateStream(
      grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* Combine(grpc::CallbackServerContext* call,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* call,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

 private:
  const EvaluationContext context_;
  const v1::GetServerInfoResponse info_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSS_SERVICE_H_
