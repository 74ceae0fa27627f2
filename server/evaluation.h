// The evaluation of a request of one message, with its operands and outputs.
#ifndef LOSSD_SERVER_EVALUATION_H_
#define LOSSD_SERVER_EVALUATION_H_

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/batch.h"
#include "core/problem/plan.h"
#include "core/sums/summary.h"
#include "proto/codec/lend.h"
#include "proto/codec/wire_write.h"
#include "server/engine/memory_budget.h"
#include "server/request_reader.h"

namespace lossd {

/// To be used in this order: Reserve, Begin, all tasks of batch(), Respond.
class Evaluation {
 public:
  explicit Evaluation(IncomingRequest request);

  /// Bytes of all outputs, each one aligned.
  [[nodiscard]] size_t OutputBytes() const;
  /// Reserves all memory that the evaluation takes on up to `threads` threads. `message` is the
  /// reservation of the request's message.
  absl::StatusOr<MemoryBudget::Reservation> Reserve(MemoryBudget* budget,
                                                    const MemoryBudget::Reservation& message,
                                                    int threads) const;
  /// Checks the labels. Outputs go to `memory`, which must be a Buffer's or aligned like it. Throws
  /// std::bad_alloc.
  absl::Status Begin(std::byte* memory);
  [[nodiscard]] BatchEvaluation* batch() { return batch_.get(); }
  /// Returns the encoded v1.EvaluateResponse. Sets `lends` to whether it lends the outputs; `owner`
  /// keeps them alive. Throws std::bad_alloc.
  std::vector<grpc::Slice> Respond(std::shared_ptr<const void> owner, bool* lends);
  /// Releases everything but the outputs.
  void Release();

 private:
  [[nodiscard]] const Plan& plan() const { return *request_.parsed.plan; }
  void AppendRaw(const ResponseFrame& frame, const Summary& summary, SliceBuilder* to) const;

  IncomingRequest request_;
  std::unique_ptr<BatchEvaluation> batch_;
  OutputSizes sizes_;
  OutputBuffers outputs_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_EVALUATION_H_
