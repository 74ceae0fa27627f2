// Evaluate calls from the client's side. Who calls again and again calls alike: what was checked
// and encoded of a request once is not again, for one that differs in the values of its tensors
// only.
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
