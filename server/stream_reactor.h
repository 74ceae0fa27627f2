// EvaluateStream: moves bytes between gRPC and a StreamSession. Incoming bytes are copied once,
// outgoing bytes never.
#ifndef LOSSD_SERVER_STREAM_REACTOR_H_
#define LOSSD_SERVER_STREAM_REACTOR_H_

#include <memory>

#include "server/request_evaluation.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {

/// `context` must outlive the server.
std::shared_ptr<Reactor> NewStreamReactor(const EvaluationContext& context, Call* call);

}  // namespace lossd

#endif  // LOSSD_SERVER_STREAM_REACTOR_H_
