// Messages between their classes and gRPC's buffers: by our own hand, so that bytes which are no
// message are INVALID_ARGUMENT, where gRPC 1.51 would say INTERNAL.
#ifndef LOSSD_SERVER_MESSAGE_IO_H_
#define LOSSD_SERVER_MESSAGE_IO_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lossd {

/// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, where the bytes are none of its kind;
/// RESOURCE_EXHAUSTED where memory does not suffice.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// The message's bytes. Throws std::bad_alloc.
grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message);

/// Builds an encoded message in slices. Throws std::bad_alloc.
class SliceBuilder {
 public:
  /// `owner` keeps the bytes of tensors.
  explicit SliceBuilder(std::shared_ptr<const void> owner) : owner_(std::move(owner)) {}

  /// Where text is appended.
  [[nodiscard]] std::string* text() { return &text_; }
  /// `head` and the bytes that follow it: great tensors are lent, small ones copied. Nothing where
  /// there is no head.
  void Append(absl::string_view head, absl::Span<const std::byte> bytes);

  /// Whether any slice holds the owner.
  [[nodiscard]] bool lends() const { return !slices_.empty(); }
  std::vector<grpc::Slice> Take();

 private:
  const std::shared_ptr<const void> owner_;
  std::vector<grpc::Slice> slices_;
  std::string text_;  // What comes after them.
};

}  // namespace lossd

#endif  // LOSSD_SERVER_MESSAGE_IO_H_
