// One EvaluateStream call from the client's side: writes chunks while it reads outputs.
#ifndef LOSSD_CLIENT_CPP_STREAM_CALL_H_
#define LOSSD_CLIENT_CPP_STREAM_CALL_H_

#include <grpcpp/client_context.h>

#include "absl/status/status.h"
#include "client/cpp/lossd/client.h"
#include "core/plan.h"
#include "lossd/v1/service.grpc.pb.h"

namespace lossd {

/// Fills `result`, whose tensors have been allocated for `plan`.
absl::Status RunStreamCall(const CrossEntropyRequest& request, const Plan& plan,
                           v1::LossService::StubInterface* stub, grpc::ClientContext* context,
                           CrossEntropyResult* result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_STREAM_CALL_H_
