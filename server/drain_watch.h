// Ends a drain as soon as no call computes.
#ifndef LOSSD_SERVER_DRAIN_WATCH_H_
#define LOSSD_SERVER_DRAIN_WATCH_H_

#include <grpcpp/server.h>

#include <memory>

#include "server/engine/call_counter.h"
#include "server/engine/idle_watch.h"

namespace lossd {

/// Works while grpc::Server::Shutdown waits for everything that is open. Once no call computes any
/// more, it ends the rest, which would delay the shutdown until its deadline. The rest are health
/// watches, reflection, and silent connections.
class DrainWatch {
 public:
  /// All arguments must outlive this.
  DrainWatch(IdleWatch* watch, const CallCounter* calls, grpc::Server* server);
  ~DrainWatch();
  DrainWatch(const DrainWatch&) = delete;
  DrainWatch& operator=(const DrainWatch&) = delete;

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_DRAIN_WATCH_H_
