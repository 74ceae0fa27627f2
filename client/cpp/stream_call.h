// The client's side of one EvaluateStream call: writes chunks while it reads outputs.
#ifndef LOSSD_CLIENT_CPP_STREAM_CALL_H_
#define LOSSD_CLIENT_CPP_STREAM_CALL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/plan.h"

namespace lossd {

/// Sends `request` as StreamMessages and fills `result`. Returns when the call has ended, at its
/// deadline at the latest, even if the server has stopped reading. REQUIRES: the tensors of
/// `result` are allocated for `plan`.
absl::Status RunStreamCall(const LossRequest& request, const Plan& plan, size_t message_bytes,
                           const std::shared_ptr<grpc::ChannelInterface>& channel,
                           std::unique_ptr<grpc::ClientContext> context, LossResult* result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_STREAM_CALL_H_
