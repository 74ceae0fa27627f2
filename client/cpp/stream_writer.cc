#include "client/cpp/stream_writer.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "client/cpp/stream_messages.h"

namespace lossd {
namespace {

/// How long the end of a call waits for its last write. The write returns at once unless the peer
/// has stopped reading.
constexpr std::chrono::milliseconds kPatience{100};

}  // namespace

/// Shared by the call and its writing thread; a stuck write may be the last to release it.
struct StreamWriter::Shared {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<RawStream> stream;
  std::atomic<uint64_t> sent = 0;
  std::mutex mutex;  // Also held while the request is read.
  std::condition_variable change;
  bool stopped = false;  // The request may be gone.
  bool ended = false;    // The thread is about to end.

  /// Returns early if the server has ended the call; the reading side learns why.
  void Write(StreamMessages* messages) {
    while (true) {
      std::vector<grpc::Slice> message;
      {
        const std::lock_guard<std::mutex> lock(mutex);
        if (stopped) return;
        message = messages->Next();
      }
      if (message.empty()) break;
      if (!stream->Write(grpc::ByteBuffer(message.data(), message.size()))) return;
      sent = messages->sent();
    }
    stream->WritesDone();
  }
};

StreamWriter::StreamWriter(StreamMessages messages, std::unique_ptr<grpc::ClientContext> context,
                           std::unique_ptr<RawStream> stream)
    : shared_(std::make_shared<Shared>()) {
  shared_->context = std::move(context);
  shared_->stream = std::move(stream);
  thread_ = std::thread([shared = shared_, messages = std::move(messages)]() mutable {
    shared->Write(&messages);
    const std::lock_guard<std::mutex> lock(shared->mutex);
    shared->ended = true;
    shared->change.notify_all();
  });
}

StreamWriter::~StreamWriter() {
  bool ended = false;
  {
    std::unique_lock<std::mutex> lock(shared_->mutex);
    shared_->stopped = true;
    ended = shared_->change.wait_for(lock, kPatience, [this] { return shared_->ended; });
  }
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

grpc::ClientContext* StreamWriter::context() { return shared_->context.get(); }

RawStream* StreamWriter::stream() { return shared_->stream.get(); }

uint64_t StreamWriter::sent() const { return shared_->sent; }

}  // namespace lossd
