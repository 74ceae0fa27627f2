// EvaluateStream: moves bytes between gRPC and a StreamSession, copied once on their way in and
// never on their way out.
#ifndef LOSSD_SERVER_STREAM_REACTOR_H_
#define LOSSD_SERVER_STREAM_REACTOR_H_

#include <grpcpp/server_context.h>

#include "server/call_reactor.h"
#include "server/request_evaluation.h"

namespace lossd {

/// A reactor that owns itself until the call is over. `context` must outlive the server.
RawReactor* NewStreamReactor(const EvaluationContext& context, grpc::CallbackServerContext* call);

}  // namespace lossd

#endif  // LOSSD_SERVER_STREAM_REACTOR_H_
