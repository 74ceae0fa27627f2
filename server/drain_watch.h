// Ends a drain as soon as nothing computes.
#ifndef LOSSD_SERVER_DRAIN_WATCH_H_
#define LOSSD_SERVER_DRAIN_WATCH_H_

#include <grpcpp/server.h>

#include <memory>

#include "server/engine/call_counter.h"
#include "server/engine/idle_watch.h"

namespace lossd {

/// While grpc::Server::Shutdown waits for all that is open: when no call computes any more it ends
/// the rest, which would hold the shutdown up for all of its time. The rest are watches of health,
/// reflection, and connections that say nothing.
class DrainWatch {
 public:
  /// All of them must live until this is destroyed.
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
