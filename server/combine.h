// Combine: merges any number of summaries one by one, in the memory of one.
#ifndef LOSSD_SERVER_COMBINE_H_
#define LOSSD_SERVER_COMBINE_H_

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <memory>

#include "server/engine/memory_budget.h"
#include "server/request_evaluation.h"

namespace lossd {

/// Merges the summaries of an encoded v1.CombineRequest and calls `done` once with the encoded
/// v1.CombineResponse. If the summaries are few or the first ones are bad, `done` is called before
/// returning; otherwise later from a worker thread, which merges the summaries in pieces, in turn
/// with other requests. `reservation` covers the request; it is given back before `done` is called.
/// If `cancelled` becomes true, `done` gets CANCELLED.
void CombineAsync(const EvaluationContext& context, const grpc::ByteBuffer& request,
                  MemoryBudget::Reservation reservation,
                  std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done);

}  // namespace lossd

#endif  // LOSSD_SERVER_COMBINE_H_
