// EvaluateStream: moves bytes between gRPC and a StreamSession.
#ifndef LOSSD_SERVER_STREAM_REACTOR_H_
#define LOSSD_SERVER_STREAM_REACTOR_H_

#include <grpcpp/support/server_callback.h>

#include "lossd/v1/service.pb.h"
#include "server/request_evaluation.h"

namespace lossd {

/// A reactor that owns itself until the call is over. `context` must outlive the server.
grpc::ServerBidiReactor<v1::EvaluateStreamRequest, v1::EvaluateStreamResponse>* NewStreamReactor(
    const EvaluationContext& context);

}  // namespace lossd

#endif  // LOSSD_SERVER_STREAM_REACTOR_H_
