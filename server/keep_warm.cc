#include "server/keep_warm.h"

#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <mutex>

#include "grpc/health/v1/health.grpc.pb.h"

namespace lossd {
namespace {

constexpr std::chrono::milliseconds kPeriod{200};

}  // namespace

KeepWarm::KeepWarm(grpc::Server* server)
    : thread_([this, channel = server->InProcessChannel({})] { Work(channel); }) {}

KeepWarm::~KeepWarm() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void KeepWarm::Work(const std::shared_ptr<grpc::Channel>& channel) {
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  std::unique_lock<std::mutex> lock(mutex_);
  while (!wake_.wait_for(lock, kPeriod, [this] { return stopping_; })) {
    lock.unlock();
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
    grpc::health::v1::HealthCheckResponse response;
    // Its answer does not matter: it has woken the threads.
    stub->Check(&context, {}, &response).ok();
    lock.lock();
  }
}

}  // namespace lossd
