#include "server/message_io.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/error.h"
#include "proto/codec/lend.h"
#include "server/engine/memory_budget.h"

namespace lossd {
namespace {

/// Tensors of more bytes are lent to gRPC and not copied into a message.
constexpr size_t kLentBytes = size_t{16} * 1024;

}  // namespace

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

void SliceBuilder::Append(absl::string_view head, absl::Span<const std::byte> bytes) {
  if (head.empty()) return;
  text_.append(head.data(), head.size());
  if (bytes.size() <= kLentBytes) {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // NOLINT(*-cast)
    return;
  }
  slices_.emplace_back(text_);
  text_.clear();
  slices_.push_back(Lend(bytes, owner_));
}

std::vector<grpc::Slice> SliceBuilder::Take() {
  if (!text_.empty()) slices_.emplace_back(text_);
  return std::move(slices_);
}

}  // namespace lossd
