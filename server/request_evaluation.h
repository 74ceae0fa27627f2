// Evaluation of one whole request, for the unary method and for pipelined streams.
#ifndef LOSSD_SERVER_REQUEST_EVALUATION_H_
#define LOSSD_SERVER_REQUEST_EVALUATION_H_

#include <grpcpp/support/slice.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/problem/plan.h"
#include "proto/codec/request_form.h"
#include "server/engine/call_counter.h"
#include "server/engine/idle_watch.h"
#include "server/engine/memory_budget.h"
#include "server/engine/message_watch.h"
#include "server/engine/stream_session.h"
#include "server/engine/worker_pool.h"
#include "server/request_reader.h"

namespace lossd {

/// The resources and limits of evaluations; passed in, never global, so that two servers can live
/// in one process.
struct EvaluationContext {
  WorkerPool* pool = nullptr;
  MemoryBudget* budget = nullptr;
  IdleWatch* watch = nullptr;
  /// For calls of one message.
  MessageWatch* messages = nullptr;
  RequestForms* forms = nullptr;
  /// Counts the calls that a drain waits for: every reactor that computes holds a handle until its
  /// call is over. Null: calls are not counted.
  CallCounter* calls = nullptr;
  PlanLimits plan_limits;
  StreamLimits stream_limits;
  /// How long a stream may wait for its first message, and for the next byte in either direction;
  /// milliseconds::max() means for ever.
  std::chrono::milliseconds header_wait{10'000};
  std::chrono::milliseconds idle_stream{60'000};
};

/// Whether a request is evaluated on the thread where it arrived, judged by the bytes of its
/// message or its input: handing a small request to a worker would cost as much as evaluating it.
inline bool IsSmall(size_t bytes) { return bytes <= (size_t{32} << 10U); }
inline bool IsSmall(const IncomingRequest& request) {
  return IsSmall(request.parsed.operands.input.size());
}

/// Evaluates a small request and returns the encoded v1.EvaluateResponse. `reservation` covers the
/// request itself. It is given back on return; so is the one for the results, unless they are lent.
absl::StatusOr<std::vector<grpc::Slice>> EvaluateSmallRequest(
    const EvaluationContext& context, IncomingRequest request,
    MemoryBudget::Reservation reservation);

/// Gets the status and, if it is OK, the encoded v1.EvaluateResponse.
using EvaluationDone = std::function<void(absl::Status, std::vector<grpc::Slice>)>;

/// Evaluates `request` and calls `done` once: before returning if the labels are bad or the request
/// is small, otherwise later from a worker thread. `reservation` covers the request itself. It is
/// given back before `done` is called; so is the one for the results, unless they are lent. If
/// `cancelled` becomes true, tasks that have not begun are dropped and `done` gets CANCELLED.
void EvaluateRequestAsync(const EvaluationContext& context, IncomingRequest request,
                          MemoryBudget::Reservation reservation,
                          std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done);

}  // namespace lossd

#endif  // LOSSD_SERVER_REQUEST_EVALUATION_H_
