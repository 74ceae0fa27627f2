#include "server/request_evaluation.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/buffer.h"
#include "core/problem/error.h"
#include "proto/codec/lend.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/evaluation.h"
#include "server/request_reader.h"

namespace lossd {
namespace {

constexpr char kCancelled[] = "the call was cancelled";

/// Outputs that are lent to gRPC until they are sent.
struct LentOutputs {
  Buffer memory;
  MemoryBudget::Reservation reservation;
};

/// A request under way; owned by its tasks, and then by the slices that gRPC has yet to send.
struct Job : std::enable_shared_from_this<Job> {
  Evaluation evaluation;
  MemoryBudget::Reservation request_reservation;
  MemoryBudget::Reservation reservation;
  Buffer outputs;
  std::atomic<int64_t> left = 0;
  std::atomic<bool> out_of_memory = false;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  EvaluationDone done;

  explicit Job(Evaluation begun) : evaluation(std::move(begun)) {}

  absl::Status Begin(const EvaluationContext& context) {
    auto reserved =
        evaluation.Reserve(context.budget, request_reservation, context.pool->threads());
    if (!reserved.ok()) return reserved.status();
    reservation = *std::move(reserved);
    try {
      outputs = Buffer(evaluation.OutputBytes());
      return evaluation.Begin(outputs.data());
    } catch (const std::bad_alloc&) {
      return OutOfMemory();
    }
  }

  /// Gives the reservation back before the reply, so that the client's next call is admitted. The
  /// memory itself is freed with this job, right after; a job that lends its outputs lives until
  /// they are sent.
  void End(absl::Status status, std::vector<grpc::Slice> response, bool lent) {
    if (lent) {
      evaluation.Release();
    } else {
      reservation = MemoryBudget::Reservation();
    }
    request_reservation = MemoryBudget::Reservation();
    // Clear `done`: it may hold the reply, which may hold this job.
    std::exchange(done, nullptr)(std::move(status), std::move(response));
  }

  void RunTask(int64_t index, Scratch* scratch) {
    try {
      if (!*cancelled && !out_of_memory) evaluation.batch()->RunTask(index, scratch);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    Leave(1);
  }

  /// Reports that `count` tasks have ended, or will not run.
  void Leave(int64_t count) {
    if ((left -= count) == 0) Finish();
  }

  void Finish() {
    if (*cancelled) return End(absl::CancelledError(kCancelled), {}, false);
    if (out_of_memory) return End(OutOfMemory(), {}, false);
    bool lent = false;
    std::vector<grpc::Slice> response;
    try {
      response = evaluation.Respond(shared_from_this(), &lent);
    } catch (const std::bad_alloc&) {
      return End(OutOfMemory(), {}, false);
    }
    End(absl::OkStatus(), std::move(response), lent);
  }
};

}  // namespace

absl::StatusOr<std::vector<grpc::Slice>> EvaluateSmallRequest(
    const EvaluationContext& context, IncomingRequest request,
    MemoryBudget::Reservation reservation) {
  static thread_local Scratch scratch;
  static thread_local Buffer kept;
  Evaluation evaluation(std::move(request));
  auto reserved = evaluation.Reserve(context.budget, reservation, 1);
  if (!reserved.ok()) return reserved.status();
  try {
    std::shared_ptr<LentOutputs> owner;
    std::byte* outputs = nullptr;
    if (evaluation.OutputBytes() <= kLentBytes) {  // No output is lent.
      if (kept.size() == 0) kept = Buffer(kLentBytes);
      outputs = kept.data();
    } else {
      owner = std::make_shared<LentOutputs>();
      owner->memory = Buffer(evaluation.OutputBytes());
      outputs = owner->memory.data();
    }
    LOSSD_RETURN_IF_ERROR(evaluation.Begin(outputs));
    for (int64_t i = 0; i < evaluation.batch()->tasks(); ++i) {
      evaluation.batch()->RunTask(i, &scratch);
    }
    bool lent = false;
    auto response = evaluation.Respond(owner, &lent);
    if (lent) owner->reservation = *std::move(reserved);
    return response;
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

void EvaluateRequestAsync(const EvaluationContext& context, IncomingRequest request,
                          MemoryBudget::Reservation reservation,
                          std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done) {
  if (*cancelled) {
    reservation = MemoryBudget::Reservation();
    return done(absl::CancelledError(kCancelled), {});
  }
  // A request without positions is small, too: it has no task that would end a job.
  if (IsSmall(request)) {
    auto response = EvaluateSmallRequest(context, std::move(request), std::move(reservation));
    if (!response.ok()) return done(response.status(), {});
    return done(absl::OkStatus(), *std::move(response));
  }
  auto job = std::make_shared<Job>(Evaluation(std::move(request)));
  job->request_reservation = std::move(reservation);
  job->cancelled = std::move(cancelled);
  job->done = std::move(done);
  absl::Status status = job->Begin(context);
  if (!status.ok()) return job->End(std::move(status), {}, false);
  const int64_t tasks = job->evaluation.batch()->tasks();
  job->left = tasks;
  int64_t submitted = 0;
  try {
    const auto queue = WorkerPool::NewQueue();
    for (; submitted < tasks; ++submitted) {
      context.pool->Submit(queue,
                           [job, i = submitted](Scratch* scratch) { job->RunTask(i, scratch); });
    }
  } catch (const std::bad_alloc&) {
    job->out_of_memory = true;
    job->Leave(tasks - submitted);
  }
}

}  // namespace lossd
