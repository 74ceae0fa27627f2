#include "server/rpc/call_queue.h"

#include <algorithm>
#include <memory>
#include <new>
#include <thread>

namespace lossd {
namespace {

/// Calls that can be taken before a thread takes the next one.
constexpr int kArmed = 16;

}  // namespace

// As many as gRPC would have for its callbacks.
int CallQueue::threads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 2, 16);
}

void CallQueue::Register(grpc::ServerBuilder* builder) {
  queue_ = builder->AddCompletionQueue();
  builder->RegisterAsyncGenericService(&service_);
}

void CallQueue::Start() {
  for (int i = 0; i < kArmed; ++i) Arm();
  for (int i = 0; i < threads(); ++i) threads_.emplace_back([this] { Work(); });
}

void CallQueue::Stop() {
  if (queue_ == nullptr) return;
  // A computation may still have a call to end, which takes a queue that is not shut down.
  for (int live = live_; live > 0; live = live_) live_.wait(live);
  queue_->Shutdown();
  if (threads_.empty()) Work();  // The server was not started.
  for (std::thread& thread : threads_) thread.join();
  queue_.reset();
}

void CallQueue::Arm() {
  Call* call = nullptr;
  try {
    call = new Call(this);
    ++armed_;
    call->Request(&service_, queue_.get());
  } catch (const std::bad_alloc&) {
    // The next end of a call, which gives memory back, arms again.
    if (call != nullptr) --armed_;
    delete call;
  }
}

// Short calls are replaced when they are over: until then the peer would wait.
void CallQueue::CallBegins() {
  ++live_;
  if (--armed_ < kArmed / 2) Arm();
}

void CallQueue::CallHasEnded() {
  // As many as are missing, or fewer where there is no memory.
  for (int missing = kArmed - armed_; missing > 0; --missing) Arm();
  // Last: the queue may be shut down after that.
  if (--live_ == 0) live_.notify_all();
}

std::shared_ptr<Reactor> CallQueue::NewReactor(Call* call) const {
  const auto found = methods_.find(call->method());
  return found == methods_.end() ? nullptr : found->second(call);
}

void CallQueue::Work() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    const auto* const ended = static_cast<Call::Tag*>(tag);
    Call* const call = ended->call;
    const bool requested = ended == &call->requested_;
    (call->*(ended->react))(ok);
    if (!requested) call->LetGo();
  }
}

}  // namespace lossd
