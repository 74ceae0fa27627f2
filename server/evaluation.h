// A request of one message, what it is evaluated with and what it gives.
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

/// In this order: Reserve, Begin, all tasks of batch(), Respond.
class Evaluation {
 public:
  explicit Evaluation(IncomingRequest request);

  /// Bytes of all outputs, each from a place that is aligned.
  [[nodiscard]] size_t OutputBytes() const;
  /// For all that the evaluation takes on up to `threads` threads, of a request whose message holds
  /// `message`.
  absl::StatusOr<MemoryBudget::Reservation> Reserve(MemoryBudget* budget,
                                                    const MemoryBudget::Reservation& message,
                                                    int threads) const;
  /// Checks the labels; outputs go to `memory`, which is Buffer's or aligned like it. Throws
  /// std::bad_alloc.
  absl::Status Begin(std::byte* memory);
  [[nodiscard]] BatchEvaluation* batch() { return batch_.get(); }
  /// The encoded v1.EvaluateResponse, and whether it lends the outputs, which `owner` keeps. Throws
  /// std::bad_alloc.
  std::vector<grpc::Slice> Respond(std::shared_ptr<const void> owner, bool* lends);
  /// Lets go of all but the outputs.
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
