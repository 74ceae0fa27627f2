// EvaluateMany: whole small requests over one stream, answered by id as they are done.
#ifndef LOSSD_SERVER_MANY_REACTOR_H_
#define LOSSD_SERVER_MANY_REACTOR_H_

#include <grpcpp/support/server_callback.h>

#include "lossd/v1/service.pb.h"
#include "server/request_evaluation.h"

namespace lossd {

/// A reactor that owns itself until the call is over. `context` must outlive the server.
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* NewManyReactor(
    const EvaluationContext& context, grpc::CallbackServerContext* call);

}  // namespace lossd

#endif  // LOSSD_SERVER_MANY_REACTOR_H_
