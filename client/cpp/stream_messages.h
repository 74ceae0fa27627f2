// The messages of an EvaluateStream call, as a request becomes them.
#ifndef LOSSD_CLIENT_CPP_STREAM_MESSAGES_H_
#define LOSSD_CLIENT_CPP_STREAM_MESSAGES_H_

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/plan.h"

namespace lossd {

/// What a message may have beside its header and the bytes of tensors: tags and lengths.
inline constexpr size_t kMessageFraming = 64;

/// Bytes of the whole input.
size_t InputBytes(const Plan& plan);

/// Whether the weight goes as bytes of the stream: in the header it would be copied twice, and may
/// be more than a message of `message_bytes` holds.
bool WeightFollows(const LossRequest& request, size_t message_bytes);

/// A tensor of a request, taken piece by piece.
class TensorSource {
 public:
  using Read = std::function<void(uint64_t offset, absl::Span<std::byte> to)>;
  TensorSource() = default;
  /// Bytes that are lent to gRPC where they have an owner, and copied where not: gRPC may hold what
  /// it sends for longer than a call lives that was cancelled.
  TensorSource(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);
  /// A tensor that `read`, which must outlive this, brings.
  TensorSource(size_t size, const Read* read);

  /// Appends everything up to byte `end` to a message, as its field of that number.
  void TakeUntil(size_t end, int field, std::vector<grpc::Slice>* to);
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] bool AtEnd() const { return sent_ == size_; }

 private:
  absl::Span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  const Read* read_ = nullptr;  // Null: `bytes_`.
  size_t size_ = 0;
  size_t sent_ = 0;
};

/// A request in an order that the server accepts: the header; a weight that follows; class indices;
/// then the input with the companions that go along with it in step.
class StreamMessages {
 public:
  /// `request` must outlive this. A message has `message_bytes` of tensors and header together at
  /// most (at least 1), but a header that is larger, which goes alone; and kMessageFraming on top.
  StreamMessages(const LossRequest& request, const Plan& plan, size_t message_bytes);

  /// The next message's slices; none at the end.
  std::vector<grpc::Slice> Next();
  /// Bytes of tensors in the messages so far, a weight in the header included.
  [[nodiscard]] uint64_t sent() const;

 private:
  [[nodiscard]] bool AtEnd() const;
  /// Appends the next pieces of tensors, some `room` bytes: at least one unless all are at their
  /// end.
  void Fill(size_t room, std::vector<grpc::Slice>* message);
  /// The part of a tensor that goes with the first `reached_` bytes of all that go in step.
  [[nodiscard]] size_t Share(const TensorSource& source) const;

  const LossRequest& request_;
  const bool indices_;
  const bool scalar_grad_output_;
  const size_t message_bytes_;
  bool header_sent_ = false;
  uint64_t header_weight_ = 0;  // Bytes of a weight that the header holds.
  TensorSource weight_;         // Empty where it does.
  TensorSource target_;
  TensorSource grad_output_;
  TensorSource input_;
  uint64_t in_step_ = 0;  // Bytes of the tensors that go in step.
  uint64_t reached_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_STREAM_MESSAGES_H_
