// The client's side of Evaluate calls. The checked, encoded head of a request is cached; calls that
// differ only in the values of tensors reuse it.
#ifndef LOSSD_CLIENT_CPP_UNARY_CALL_H_
#define LOSSD_CLIENT_CPP_UNARY_CALL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/impl/codegen/rpc_method.h>

#include <memory>

#include "absl/status/status.h"
#include "client/cpp/lossd/client.h"
#include "proto/codec/recent.h"

namespace lossd {

/// Checked and encoded parts of a request.
class UnaryForm;

/// Thread-safe.
class UnaryCalls {
 public:
  explicit UnaryCalls(std::shared_ptr<grpc::ChannelInterface> channel);

  absl::Status Run(const LossRequest& request, grpc::ClientContext* context, LossResult* result);

 private:
  const std::shared_ptr<grpc::ChannelInterface> channel_;
  const grpc::internal::RpcMethod method_;
  Recent<UnaryForm> forms_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_UNARY_CALL_H_
