// Messages between their classes and gRPC's buffers: by our own hand, so that bytes which are no
// message are INVALID_ARGUMENT, where gRPC 1.51 would say INTERNAL.
#ifndef LOSSD_SERVER_MESSAGE_IO_H_
#define LOSSD_SERVER_MESSAGE_IO_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/tensor.h"

namespace lossd {

/// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, where the bytes are none of its kind;
/// RESOURCE_EXHAUSTED where memory does not suffice.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// The message's bytes. Throws std::bad_alloc.
grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message);

/// A slice that lends bytes to gRPC and keeps their owner until gRPC lets go of them.
grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);

/// A field of a message that is a v1.Tensor whose bytes lie elsewhere.
struct LentTensor {
  int field;
  TensorView tensor;
};

/// The fields as they stand on the wire, their bytes lent.
std::vector<grpc::Slice> EncodeTensors(absl::Span<const LentTensor> tensors,
                                       const std::shared_ptr<const void>& owner);

}  // namespace lossd

#endif  // LOSSD_SERVER_MESSAGE_IO_H_
