#include "server/message_io.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/problem/error.h"
#include "proto/codec/wire_check.h"
#include "server/engine/memory_budget.h"

namespace lossd {
namespace {

using google::protobuf::io::ZeroCopyInputStream;

/// ProtoBufferReader takes a mutable buffer, but does not change it.
class BufferReader final : public grpc::ProtoBufferReader {
 public:
  explicit BufferReader(const grpc::ByteBuffer& bytes)
      : ProtoBufferReader(const_cast<grpc::ByteBuffer*>(&bytes)) {}  // NOLINT(*-cast)
};

/// `check` and `parse` are at the beginning of the same bytes.
absl::Status CheckAndParse(ZeroCopyInputStream* check, ZeroCopyInputStream* parse,
                           absl::string_view path, const AdmitParsed& admit,
                           google::protobuf::Message* message) {
  const auto numbers = CheckWire(check, *message->GetDescriptor(), path);
  if (!numbers.ok()) return numbers.status();
  if (admit) LOSSD_RETURN_IF_ERROR(admit(*numbers));
  try {
    if (message->ParseFromZeroCopyStream(parse)) return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
  // CheckWire does not find, for example, a varint of more than ten bytes among packed ones.
  return InvalidField(path, "MALFORMED_MESSAGE", "expected an encoded ", message->GetTypeName());
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message,
                          const AdmitParsed& admit) {
  BufferReader check(bytes);
  BufferReader parse(bytes);
  if (!check.status().ok() || !parse.status().ok()) {
    return InvalidField("", "MALFORMED_MESSAGE", "expected an encoded ", message->GetTypeName());
  }
  return CheckAndParse(&check, &parse, "", admit, message);
}

absl::Status ParseMessage(const std::string& bytes, absl::string_view path,
                          google::protobuf::Message* message, const AdmitParsed& admit) {
  const auto size = static_cast<int>(bytes.size());
  google::protobuf::io::ArrayInputStream check(bytes.data(), size);
  google::protobuf::io::ArrayInputStream parse(bytes.data(), size);
  return CheckAndParse(&check, &parse, path, admit, message);
}

absl::Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  BufferReader reader(bytes);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  return InvalidField("", "MALFORMED_MESSAGE", "expected an encoded ", message->GetTypeName());
}

uint64_t FindVarint(const grpc::ByteBuffer& bytes, int number) {
  BufferReader reader(bytes);
  return reader.status().ok() ? FindVarint(&reader, number) : 0;
}

grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  grpc::Slice slice(size);
  // A slice must not change once others see it; this one is new.
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));  // NOLINT(*-cast)
  return slice;
}

}  // namespace lossd
