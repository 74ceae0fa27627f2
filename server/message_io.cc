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
#include "lossd/v1/tensor.pb.h"
#include "proto/codec/stream_codec.h"
#include "proto/codec/tensor_codec.h"
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

grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  auto* held = new std::shared_ptr<const void>(std::move(owner));
  return {const_cast<std::byte*>(bytes.data()), bytes.size(),  // NOLINT(*-const-cast): only read.
          [](void* owned) { delete static_cast<std::shared_ptr<const void>*>(owned); }, held};
}

std::vector<grpc::Slice> EncodeTensors(absl::Span<const LentTensor> tensors,
                                       const std::shared_ptr<const void>& owner) {
  std::vector<grpc::Slice> slices;
  for (const LentTensor& lent : tensors) {
    v1::Tensor rest;
    FillTensor(lent.tensor.spec, std::string(), /*typed=*/false, &rest);
    rest.clear_raw();
    std::string prefix = rest.SerializeAsString();
    prefix += FieldPrefix(v1::Tensor::kRawFieldNumber, lent.tensor.bytes.size());
    const size_t size = prefix.size() + lent.tensor.bytes.size();
    slices.emplace_back(FieldPrefix(lent.field, size) + prefix);
    slices.push_back(Lend(lent.tensor.bytes, owner));
  }
  return slices;
}

}  // namespace lossd
