// Messages between their classes and gRPC's buffers: by our own hand, so that bytes which are no
// message are INVALID_ARGUMENT, where gRPC 1.51 would say INTERNAL.
#ifndef LOSSD_SERVER_MESSAGE_IO_H_
#define LOSSD_SERVER_MESSAGE_IO_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "absl/status/status.h"

namespace lossd {

/// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, where the bytes are none of its kind;
/// RESOURCE_EXHAUSTED where memory does not suffice.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// The message's bytes. Throws std::bad_alloc.
grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message);

}  // namespace lossd

#endif  // LOSSD_SERVER_MESSAGE_IO_H_
