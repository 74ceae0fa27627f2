// Combine: any number of summaries merged one by one, in the memory of one.
#ifndef LOSSD_SERVER_COMBINE_H_
#define LOSSD_SERVER_COMBINE_H_

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <memory>

#include "server/engine/memory_budget.h"
#include "server/request_evaluation.h"

namespace lossd {

/// Merges the summaries of an encoded v1.CombineRequest and calls `done` once with the encoded
/// v1.CombineResponse: before returning, where they are few or the first ones are bad, or later
/// from a worker thread, which takes them in pieces and in turn with other requests. `reservation`
/// is for the request; it has been given back when `done` is called. Where `cancelled` becomes true
/// `done` gets CANCELLED.
void CombineAsync(const EvaluationContext& context, const grpc::ByteBuffer& request,
                  MemoryBudget::Reservation reservation,
                  std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done);

}  // namespace lossd

#endif  // LOSSD_SERVER_COMBINE_H_
