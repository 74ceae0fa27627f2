// Methods of one message and one answer, for the CallQueue.
#ifndef LOSSD_SERVER_UNARY_METHOD_H_
#define LOSSD_SERVER_UNARY_METHOD_H_

#include <memory>
#include <utility>

#include "server/request_evaluation.h"
#include "server/rpc/call.h"
#include "server/rpc/call_queue.h"
#include "server/unary_reactor.h"

namespace lossd {

/// `context` must outlive the queue that the method is added to.
inline CallQueue::Method UnaryMethod(const EvaluationContext& context,
                                     UnaryReactor::Handler handler) {
  // Shared, since a std::function may be copied, and its reactors refer to the handler.
  return [&context, handler = std::make_shared<const UnaryReactor::Handler>(std::move(handler))](
             Call* call) { return std::make_shared<UnaryReactor>(context, *handler, call); };
}

}  // namespace lossd

#endif  // LOSSD_SERVER_UNARY_METHOD_H_
