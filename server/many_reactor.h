// EvaluateMany: whole small requests over one stream, answered by id as they are done.
#ifndef LOSSD_SERVER_MANY_REACTOR_H_
#define LOSSD_SERVER_MANY_REACTOR_H_

#include <memory>

#include "server/request_evaluation.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {

/// `context` must outlive the server.
std::shared_ptr<Reactor> NewManyReactor(const EvaluationContext& context, Call* call);

}  // namespace lossd

#endif  // LOSSD_SERVER_MANY_REACTOR_H_
