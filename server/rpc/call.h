// One call, from gRPC's completion queue to the reactor of its method.
#ifndef LOSSD_SERVER_RPC_CALL_H_
#define LOSSD_SERVER_RPC_CALL_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/rpc/reactor.h"

namespace lossd {

class CallQueue;

/// A call's operations, for its reactor. At most one read and one write may be under way. Nothing
/// may be started after Finish or WriteAndFinish, of which one is due, once; a read or a write that
/// is under way then ends as not ok.
class Call {
 public:
  /// What gRPC returns of an operation.
  struct Tag {
    Call* call;
    void (Call::*react)(bool ok);
  };

  explicit Call(CallQueue* queue) : queue_(*queue) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void SendInitialMetadata();
  /// `message` must stay until OnReadDone.
  void Read(grpc::ByteBuffer* message);
  /// Keeps what it needs of `message`.
  void Write(const grpc::ByteBuffer& message);
  /// Ends the call with `status`, whose details go along.
  void Finish(const absl::Status& status);
  /// Ends the call with OK, after `message`.
  void WriteAndFinish(const grpc::ByteBuffer& message);
  /// Breaks the call: what is under way ends. OnCancel follows.
  void TryCancel() { context_.TryCancel(); }

  [[nodiscard]] const std::string& method() const { return context_.method(); }

 private:
  friend class CallQueue;
  ~Call() = default;

  /// Takes one call of any method, once.
  void Request(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue);

  // Reactions to the ends of operations.
  void Requested(bool ok);
  void ReadDone(bool ok) { reactor_->OnReadDone(ok); }
  void WriteDone(bool ok) { reactor_->OnWriteDone(ok); }
  void Sent(bool /*ok*/) {}
  void Over(bool ok);

  Tag* Holding(Tag* tag) {
    ++pending_;
    return tag;
  }
  /// An operation has ended, and its reaction.
  void LetGo();

  CallQueue& queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  std::shared_ptr<Reactor> reactor_;
  /// Operations under way. Three count from the beginning on: the request, the end that the reactor
  /// is to start, and the news that the call is over, which may come on another thread first.
  std::atomic<int> pending_ = 3;
  /// Cancellation may come before the reactor has begun: the second of the two tells the reactor.
  std::atomic<bool> begun_or_cancelled_ = false;
  Tag requested_{this, &Call::Requested};
  Tag metadata_{this, &Call::Sent};
  Tag read_{this, &Call::ReadDone};
  Tag write_{this, &Call::WriteDone};
  Tag finish_{this, &Call::Sent};
  Tag over_{this, &Call::Over};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_CALL_H_
