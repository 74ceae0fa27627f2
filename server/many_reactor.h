// EvaluateMany: whole small requests over one stream, answered by id as they are done.
#ifndef LOSSD_SERVER_MANY_REACTOR_H_
#define LOSSD_SERVER_MANY_REACTOR_H_

#include <grpcpp/server_context.h>

#include "server/call_reactor.h"
#include "server/request_evaluation.h"

namespace lossd {

/// A reactor that owns itself until the call is over. `context` must outlive the server.
RawReactor* NewManyReactor(const EvaluationContext& context, grpc::CallbackServerContext* call);

}  // namespace lossd

#endif  // LOSSD_SERVER_MANY_REACTOR_H_
