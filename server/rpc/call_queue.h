// Where calls arrive: gRPC's completion queue and the threads that serve it.
#ifndef LOSSD_SERVER_RPC_CALL_QUEUE_H_
#define LOSSD_SERVER_RPC_CALL_QUEUE_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {

/// Takes the calls of all methods, before their messages have come, and hands them to reactors. Of
/// gRPC's two other ways, services would have the messages of unary calls read first, for which no
/// time is set, and callbacks on its own threads, which sleep 100 ms at a time after an idle
/// second (1.51).
class CallQueue {
 public:
  /// Makes the reactor of a call. std::bad_alloc is allowed.
  using Method = std::function<std::shared_ptr<Reactor>(Call* call)>;

  CallQueue() = default;
  ~CallQueue() { Stop(); }
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;

  /// `path` such as "/lossd.v1.LossService/Evaluate". Before Start.
  void Add(const std::string& path, Method method) { methods_[path] = std::move(method); }

  /// How many threads there will be.
  static int threads();

  void Register(grpc::ServerBuilder* builder);
  /// Serves from now on; other methods than those added are UNIMPLEMENTED. REQUIRES: the server has
  /// been started.
  void Start();
  /// Waits for the calls that there are, and ends the threads. REQUIRES: the server, if it was
  /// started, has been shut down, and is destroyed after this alone.
  void Stop();

 private:
  friend class Call;
  /// Takes one call more.
  void Arm();
  /// An armed call has come.
  void CallBegins();
  /// It has just given its memory back.
  void CallHasEnded();
  /// Null where no method has the call's path.
  std::shared_ptr<Reactor> NewReactor(Call* call) const;
  void Work();

  absl::flat_hash_map<std::string, Method> methods_;
  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::vector<std::thread> threads_;
  std::atomic<int> live_ = 0;
  /// Calls that may come before more are armed.
  std::atomic<int> armed_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_CALL_QUEUE_H_
