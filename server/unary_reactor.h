// A call of one message and one answer.
#ifndef LOSSD_SERVER_UNARY_REACTOR_H_
#define LOSSD_SERVER_UNARY_REACTOR_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/call_counter.h"
#include "server/engine/message_watch.h"
#include "server/request_evaluation.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {

/// Ends with MESSAGE_WAIT where the message does not come in time, with MEMORY_BUSY where it is one
/// of too many that do not come whole, and is broken where nobody takes its answer.
class UnaryReactor final : public Reactor,
                           public MessageWatch::Waiting,
                           public std::enable_shared_from_this<UnaryReactor> {
 public:
  /// Answers the message, at once or later. std::bad_alloc is allowed until then.
  using Handler = std::function<void(const std::shared_ptr<UnaryReactor>& reactor,
                                     const grpc::ByteBuffer& message)>;

  /// `context` and `handler` must outlive the server.
  UnaryReactor(const EvaluationContext& context, const Handler& handler, Call* call)
      : context_(context), handler_(handler), call_(call) {}

  void Start() override;
  void OnReadDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override;
  void OnLate() override;
  void OnCrowded() override;

  /// Ends the call: with `response`, where `status` is OK. The first answer counts.
  void Answer(const absl::Status& status, const std::vector<grpc::Slice>& response);

  /// Whether nobody waits for the answer any more. It may outlive the call.
  [[nodiscard]] std::shared_ptr<const std::atomic<bool>> cancelled() {
    return {shared_from_this(), &cancelled_};
  }

 private:
  /// Ends the call where its message is still to come.
  void EndReading(const absl::Status& status);

  const EvaluationContext& context_;
  const Handler& handler_;
  /// From the message on: a drain does not wait for what may never come.
  CallCounter::Handle counted_;
  Call* const call_;
  MessageWatch::Ticket ticket_;
  std::atomic<bool> cancelled_ = false;
  grpc::ByteBuffer message_;
  std::mutex mutex_;
  bool reading_ = false;
  bool answered_ = false;
  bool over_ = false;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_UNARY_REACTOR_H_
