#include "client/cpp/stream_writer.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "client/cpp/wire.h"
#include "core/plan.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/lend.h"
#include "proto/codec/wire_write.h"

namespace lossd {
namespace {

using Request = v1::EvaluateStreamRequest;

/// How long the end of a call waits for the end of its last write, which comes at once with all
/// peers but those that have stopped reading.
constexpr std::chrono::milliseconds kPatience{100};

/// A tensor of a request, taken piece by piece.
class Source {
 public:
  using Read = std::function<void(uint64_t offset, absl::Span<std::byte> to)>;
  /// Bytes that are lent to gRPC where they have an owner, and copied where not: gRPC may hold what
  /// it sends for longer than a call lives that was cancelled.
  Source(absl::Span<const std::byte> bytes, const std::shared_ptr<const void>& owner)
      : bytes_(bytes), owner_(&owner), size_(bytes.size()) {}
  /// A tensor that `read` brings.
  Source(size_t size, const Read& read) : read_(&read), size_(size) {}

  /// Everything up to byte `end`, as a field of a message.
  void TakeUntil(size_t end, int field, std::vector<grpc::Slice>* to) {
    const size_t stop = std::min(end, size_);
    if (stop <= sent_) return;
    const size_t count = stop - sent_;
    to->emplace_back(FieldPrefix(field, count));
    if (read_ != nullptr) {
      const grpc::Slice slice(count);
      // A slice is not written after others see it; this one is new.
      (*read_)(sent_, {reinterpret_cast<std::byte*>(const_cast<uint8_t*>(slice.begin())),  // NOLINT
                       slice.size()});
      to->push_back(slice);
    } else if (*owner_ != nullptr) {
      to->push_back(Lend(bytes_.subspan(sent_, count), *owner_));
    } else {
      to->emplace_back(bytes_.data() + sent_, count);
    }
    sent_ = stop;
  }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] bool AtEnd() const { return sent_ == size_; }

 private:
  absl::Span<const std::byte> bytes_;
  const std::shared_ptr<const void>* owner_ = nullptr;  // The request's, where there are `bytes_`.
  const Read* read_ = nullptr;                          // The same, where there are none.
  size_t size_;
  size_t sent_ = 0;
};

/// The messages of a request in an order that the server accepts: class indices first, then the
/// input with the companions that go along with it in step.
class Messages {
 public:
  Messages(const CrossEntropyRequest& request, const Plan& plan)
      : request_(request),
        indices_(plan.target_kind() == TargetKind::kClassIndex),
        chunk_(std::max<size_t>(1, request.chunk_bytes)),
        target_(request.target.bytes, request.owner),
        grad_output_(
            request.grad_output ? request.grad_output->bytes : absl::Span<const std::byte>(),
            request.owner),
        input_(request.read_input ? Source(InputBytes(plan), request.read_input)
                                  : Source(request.input.bytes, request.owner)) {}

  /// The next message's slices; none at the end.
  std::vector<grpc::Slice> Next() {
    std::vector<grpc::Slice> message;
    if (!header_sent_) {
      Request first;
      ToWire(request_, first.mutable_header());
      message.emplace_back(first.SerializeAsString());
      header_sent_ = true;
    }
    if (!AtEnd()) Fill(&message);
    return message;
  }
  [[nodiscard]] uint64_t sent() const {
    return target_.sent() + grad_output_.sent() + input_.sent();
  }

 private:
  [[nodiscard]] bool AtEnd() const {
    return target_.AtEnd() && grad_output_.AtEnd() && input_.AtEnd();
  }

  void Fill(std::vector<grpc::Slice>* message) {
    if (indices_ && !target_.AtEnd()) {
      return target_.TakeUntil(target_.sent() + chunk_, Request::kTargetFieldNumber, message);
    }
    // Companions reach as far as the input will, so that none of them runs ahead.
    const size_t end = std::min(input_.size(), input_.sent() + chunk_);
    const double share =
        input_.size() == 0 ? 1.0 : static_cast<double>(end) / static_cast<double>(input_.size());
    const auto part = [&](const Source& source) {
      return end == input_.size() ? source.size()
                                  : static_cast<size_t>(share * static_cast<double>(source.size()));
    };
    const bool scalar = request_.options.reduction != Reduction::kNone;
    target_.TakeUntil(part(target_), Request::kTargetFieldNumber, message);
    grad_output_.TakeUntil(scalar ? grad_output_.size() : part(grad_output_),
                           Request::kGradOutputFieldNumber, message);
    input_.TakeUntil(end, Request::kInputFieldNumber, message);
  }

  const CrossEntropyRequest& request_;
  const bool indices_;
  const size_t chunk_;
  bool header_sent_ = false;
  Source target_;
  Source grad_output_;
  Source input_;
};

}  // namespace

size_t InputBytes(const Plan& plan) {
  return static_cast<size_t>(plan.positions() * plan.classes()) * SizeOf(plan.input().dtype);
}

/// Goes with whoever is last: the call, or a write that is stuck.
struct StreamWriter::Shared {
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<RawStream> stream;
  std::atomic<uint64_t> sent = 0;
  std::mutex mutex;  // Held while the request is read.
  std::condition_variable change;
  bool stopped = false;  // The request is gone.
  bool ended = false;    // The thread is about to end.

  /// Returns early where the server has ended the call: the reader learns why.
  void Write(Messages* messages) {
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

StreamWriter::StreamWriter(const CrossEntropyRequest& request, const Plan& plan,
                           std::unique_ptr<grpc::ClientContext> context,
                           std::unique_ptr<RawStream> stream)
    : shared_(std::make_shared<Shared>()) {
  shared_->context = std::move(context);
  shared_->stream = std::move(stream);
  thread_ = std::thread([shared = shared_, messages = Messages(request, plan)]() mutable {
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
