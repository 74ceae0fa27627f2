// The common base of the streams: how they begin, wait for their peer, and end.
#ifndef LOSSD_SERVER_CALL_REACTOR_H_
#define LOSSD_SERVER_CALL_REACTOR_H_

#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <new>

#include "absl/status/status.h"
#include "server/engine/call_counter.h"
#include "server/engine/idle_watch.h"
#include "server/request_evaluation.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {

/// A stream. At most one read and one write are under way, and nothing is started after the end:
/// gRPC 1.51 aborts the process otherwise. Whatever ends the call, what it holds is let go of
/// there, not with the reactor, which work under way may keep.
class CallReactor : public Reactor, public std::enable_shared_from_this<CallReactor> {
 public:
  /// Sends the initial metadata, for which some clients wait before they send, and begins.
  void Start() final;
  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

 protected:
  /// `context` must outlive the server.
  CallReactor(const EvaluationContext& context, Call* call)
      : context_(context), counted_(context.calls), call_(call) {}

  // Implemented by each kind of stream. All are called with mutex_ held.

  /// `incoming()` is a message. `lock` holds mutex_, and may be unlocked meanwhile.
  virtual void Received(std::unique_lock<std::mutex>* lock) = 0;
  /// The peer sends no more messages.
  virtual void HalfClosed() = 0;
  /// A write has succeeded.
  virtual void Written() {}
  /// Starts whatever can be started.
  virtual void Advance() = 0;
  /// Stops the computation: the call is about to end early.
  virtual void Stop() = 0;
  /// Releases all that the call holds. Called at the end of the call, and again when the last
  /// reaction is over.
  virtual void Release() = 0;
  /// The error if no first message came in time.
  [[nodiscard]] virtual absl::Status FirstMissing() const = 0;

  /// Runs `reaction`, which may lock the lock that it gets, then starts all that can be started.
  /// Ends the call when memory runs out: gRPC swallows exceptions, and the call would never end.
  template <typename Reaction>
  void React(const Reaction& reaction) {
    std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
    try {
      reaction(&lock);
      if (!lock.owns_lock()) lock.lock();
      Pump();
    } catch (const std::bad_alloc&) {
      if (!lock.owns_lock()) lock.lock();
      RunOutOfMemory();
    }
  }

  // With mutex_ held:
  void Read();
  void Write(const grpc::ByteBuffer& message);
  /// The call ends with `status`, no answer more, as soon as no write is under way. The first one
  /// counts.
  void EndEarly(absl::Status status);
  /// Ends the call now.
  void End(const absl::Status& status);
  /// Whether nothing more is to be computed or sent.
  [[nodiscard]] bool ended() const { return finished_ || !early_.ok(); }
  [[nodiscard]] bool reading() const { return reading_; }
  [[nodiscard]] bool writing() const { return writing_; }
  grpc::ByteBuffer* incoming() { return &incoming_; }

  const EvaluationContext& context_;
  std::mutex mutex_;

 private:
  /// A patience of milliseconds::max() never runs out.
  void SetClock(std::chrono::milliseconds patience);
  void Pump();
  void RunOutOfMemory() noexcept;
  /// Called when the peer has neither sent nor taken anything for too long.
  void OnIdle();

  const CallCounter::Handle counted_;
  Call* const call_;
  std::shared_ptr<IdleWatch::Clock> clock_;
  grpc::ByteBuffer incoming_;
  absl::Status early_;
  bool received_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool finished_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALL_REACTOR_H_
