#include "server/message_io.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "absl/status/status.h"
#include "core/error.h"
#include "server/engine/memory_budget.h"

namespace lossd {
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  // The reader asks for a buffer that it may change, and does not.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));  // NOLINT(*-cast)
  try {
    if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
  return InvalidField("", "MALFORMED_MESSAGE", "expected a ", message->GetTypeName());
}

grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  grpc::Slice slice(size);
  // A slice is not written after others see it; this one is new.
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));  // NOLINT(*-cast)
  return slice;
}

}  // namespace lossd
