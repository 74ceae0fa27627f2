// How a method handles a call.
#ifndef LOSSD_SERVER_RPC_REACTOR_H_
#define LOSSD_SERVER_RPC_REACTOR_H_

namespace lossd {

/// Reacts to what becomes of a call. Reactions to different operations may run at the same time, on
/// threads of the CallQueue, which they must not block.
class Reactor {
 public:
  Reactor() = default;
  virtual ~Reactor() = default;
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Begins. std::bad_alloc is allowed as long as no operation has been started: the call then ends
  /// with MEMORY_BUSY.
  virtual void Start() = 0;
  /// A read has ended; not `ok` where no message is left.
  virtual void OnReadDone(bool ok) = 0;
  /// A write has ended; not `ok` where the call is broken.
  virtual void OnWriteDone(bool /*ok*/) {}
  /// The peer, or its connection, gave the call up, or its deadline has passed; at most once.
  virtual void OnCancel() {}
  /// The call is over: the last reaction.
  virtual void OnDone() {}
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_REACTOR_H_
