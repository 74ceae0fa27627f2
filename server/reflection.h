// Server reflection: generic tools can query the services of lossd and their definitions.
#ifndef LOSSD_SERVER_REFLECTION_H_
#define LOSSD_SERVER_REFLECTION_H_

#include <string>
#include <vector>

#include "server/request_evaluation.h"
#include "server/rpc/call_queue.h"

namespace lossd {

/// gRPC's own is synchronous, and each of its streams holds a thread for as long as its client
/// likes.
class Reflection {
 public:
  /// Full names of `services`, as they are listed. A stream that asks nothing, or does not read its
  /// answer, ends as other streams do. What `context` points to must outlive the server.
  Reflection(const EvaluationContext& context, std::vector<std::string> services);

  /// Adds its method, as v1alpha and v1. It must outlive `queue`.
  void AddTo(CallQueue* queue);

 private:
  EvaluationContext context_;
  const std::vector<std::string> services_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_REFLECTION_H_
