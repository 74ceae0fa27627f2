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
#include "absl/types/span.h"
#include "core/dtype.h"
#include "core/summary.h"
#include "core/tensor.h"
#include "proto/codec/wire_write.h"

namespace lossd {

/// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, where the bytes are none of its kind;
/// RESOURCE_EXHAUSTED where memory does not suffice.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// The message's bytes. Throws std::bad_alloc.
grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message);

/// A slice that lends bytes to gRPC and keeps their owner until gRPC lets go of them.
grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);

/// Builds a v1.EvaluateResponse in slices, its fields in the order of the calls. Throws
/// std::bad_alloc.
class ResponseBuilder {
 public:
  /// `owner` keeps the bytes of tensors. `typed`: those go as values, not raw.
  ResponseBuilder(std::shared_ptr<const void> owner, bool typed)
      : owner_(std::move(owner)), typed_(typed) {}

  /// Great tensors are lent, small ones copied.
  void Tensor(int field, DType dtype, const Shape& shape, absl::Span<const std::byte> bytes);
  void Summary(const SummaryFrame& frame, const lossd::Summary& summary);

  /// Whether any slice holds the owner.
  [[nodiscard]] bool lends() const { return !slices_.empty(); }
  std::vector<grpc::Slice> Take();

 private:
  const std::shared_ptr<const void> owner_;
  const bool typed_;
  std::vector<grpc::Slice> slices_;
  std::string text_;  // What comes after them.
};

}  // namespace lossd

#endif  // LOSSD_SERVER_MESSAGE_IO_H_
