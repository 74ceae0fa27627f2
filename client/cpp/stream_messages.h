// Splits a request into the messages of an EvaluateStream call.
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

/// Upper bound of the tags and lengths in a message, beside its header and the bytes of tensors.
inline constexpr size_t kMessageFraming = 64;

/// Bytes of the whole input.
size_t InputBytes(const Plan& plan);

/// Whether the weight is sent as bytes of the stream. In the header, a large weight would be copied
/// twice and might not fit a message of `message_bytes`.
bool WeightFollows(const LossRequest& request, size_t message_bytes);

/// A tensor of a request, taken piece by piece.
class TensorSource {
 public:
  using Read = std::function<void(uint64_t offset, absl::Span<std::byte> to)>;
  TensorSource() = default;
  /// A tensor in memory. Its bytes are lent to gRPC if they have an owner, and copied otherwise:
  /// gRPC may hold the bytes that it sends beyond the end of a cancelled call.
  TensorSource(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);
  /// A tensor that `read` provides. `read` must outlive this.
  TensorSource(size_t size, const Read* read);

  /// Appends the bytes not yet taken, up to byte `end`, to a message as field `field`.
  void TakeUntil(size_t end, int field, std::vector<grpc::Slice>* to);
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] bool AtEnd() const { return sent_ == size_; }

 private:
  absl::Span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  const Read* read_ = nullptr;  // If null, the tensor is `bytes_`.
  size_t size_ = 0;
  size_t sent_ = 0;
};

/// The messages of a request, in an order that the server accepts: the header, a weight that
/// follows it, class indices, then the input in step with the tensors that have its positions.
class StreamMessages {
 public:
  /// `request` must outlive this. Header and tensors of one message take at most `message_bytes`
  /// (at least 1) together, and up to kMessageFraming more. A larger header is sent alone.
  StreamMessages(const LossRequest& request, const Plan& plan, size_t message_bytes);

  /// The next message's slices; none at the end.
  std::vector<grpc::Slice> Next();
  /// Bytes of tensors in the messages so far, including a weight in the header.
  [[nodiscard]] uint64_t sent() const;

 private:
  [[nodiscard]] bool AtEnd() const;
  /// Appends the next pieces of tensors, about `room` bytes. Appends at least one byte unless all
  /// tensors are at their end.
  void Fill(size_t room, std::vector<grpc::Slice>* message);
  /// The bytes of a tensor that belong to the first `reached_` of `in_step_` bytes.
  [[nodiscard]] size_t Share(const TensorSource& source) const;

  const LossRequest& request_;
  const bool indices_;
  const bool scalar_grad_output_;
  const size_t message_bytes_;
  bool header_sent_ = false;
  uint64_t header_weight_ = 0;  // Bytes of the weight in the header.
  TensorSource weight_;         // Empty if the weight is in the header.
  TensorSource target_;
  TensorSource grad_output_;
  TensorSource input_;
  uint64_t in_step_ = 0;  // Bytes of all tensors that are sent in step.
  uint64_t reached_ = 0;  // Bytes of them taken so far.
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_STREAM_MESSAGES_H_
