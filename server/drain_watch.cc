#include "server/drain_watch.h"

#include <grpc/grpc.h>

#include <chrono>
#include <memory>
#include <mutex>

namespace lossd {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks{100};

}  // namespace

// Separate from its owner, because a look may be under way while the owner is destroyed.
struct DrainWatch::State {
  void Look() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (server == nullptr) return;
    // Two idle looks are needed: small calls are not counted, and gRPC may still write a reply.
    idle_looks = calls->calls() == 0 ? idle_looks + 1 : 0;
    // grpc::Server itself calls this function at the end of the drain, but its API offers no way to
    // call it earlier.
    if (idle_looks >= 2) grpc_server_cancel_all_calls(server->c_server());
    clock->Set(kBetweenLooks);
  }

  std::mutex mutex;
  const CallCounter* calls = nullptr;
  grpc::Server* server = nullptr;
  std::shared_ptr<IdleWatch::Clock> clock;
  int idle_looks = 0;
};

DrainWatch::DrainWatch(IdleWatch* watch, const CallCounter* calls, grpc::Server* server)
    : state_(std::make_shared<State>()) {
  state_->calls = calls;
  state_->server = server;
  state_->clock = watch->NewClock([weak = std::weak_ptr<State>(state_)] {
    if (const auto state = weak.lock()) state->Look();
  });
  state_->clock->Set(kBetweenLooks);
}

DrainWatch::~DrainWatch() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->clock->Stop();
  state_->server = nullptr;
}

}  // namespace lossd
