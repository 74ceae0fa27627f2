#include "client/lossctl/pipeline.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/cpp/wire.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/status_bridge.h"

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;

/// Limits the unanswered requests to `size`, and remembers when each of the last `size` requests
/// was written. If a whole window of other answers overtakes an answer, its time is that of a later
/// request.
class Window {
 public:
  explicit Window(uint64_t size) : begins_(size) {}

  /// Waits until half the window is free. Returns the ids of the next requests, [first, last); none
  /// once the window is closed. Requests that are written together leave in one packet, and one
  /// wake-up of the thread serves them all.
  struct Batch {
    uint64_t first, last;
  };
  Batch Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [this] { return closed_ || HalfFree(); });
    if (closed_) return {written_, written_};
    const Batch batch = {written_, answered_ + begins_.size()};
    const Clock::time_point now = Clock::now();
    for (; written_ < batch.last; ++written_) begins_[written_ % begins_.size()] = now;
    return batch;
  }
  Clock::time_point Answer(uint64_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++answered_;
    if (HalfFree()) room_.notify_one();
    return begins_[id % begins_.size()];
  }
  void Close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    room_.notify_one();
  }

 private:
  // REQUIRES: mutex_ is held.
  [[nodiscard]] bool HalfFree() const { return (written_ - answered_) * 2 <= begins_.size(); }

  std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Clock::time_point> begins_;
  uint64_t written_ = 0;
  uint64_t answered_ = 0;
  bool closed_ = false;
};

}  // namespace

absl::Status RunPipeline(const std::string& server, const ClientOptions& options,
                         const LossRequest& request, int outstanding,
                         const std::function<bool()>& more,
                         const std::function<void(Clock::time_point)>& answered) {
  auto channel = MakeChannel(server, options);
  if (!channel.ok()) return channel.status();
  const auto stub = v1::LossService::NewStub(*channel);
  grpc::ClientContext context;
  PrepareContext(options, DeadlineOf(options), &context);
  const auto stream = stub->EvaluateMany(&context);
  Window window(static_cast<uint64_t>(outstanding));
  std::thread writer([&] {
    v1::EvaluateManyRequest message;
    ToWire(request, message.mutable_request());
    const auto write = [&](Window::Batch batch) {
      for (uint64_t id = batch.first; id < batch.last; ++id) {
        message.set_id(id);
        // gRPC holds back a write with this hint until a write without it follows.
        grpc::WriteOptions together;
        if (id + 1 < batch.last) together.set_buffer_hint();
        if (!stream->Write(message, together)) return false;
      }
      return batch.first < batch.last;
    };
    while (more() && write(window.Next())) {
    }
    stream->WritesDone();
  });
  absl::Status status;
  v1::EvaluateManyResponse reply;
  while (stream->Read(&reply)) {
    if (reply.has_error() && status.ok()) {
      status = FromProto(reply.error());
      window.Close();
    }
    answered(window.Answer(reply.id()));
  }
  window.Close();
  writer.join();
  absl::Status finished = FromGrpc(stream->Finish());
  return status.ok() ? finished : status;
}

}  // namespace lossd
