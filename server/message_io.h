// Converts messages between their classes and gRPC's buffers. The server does this itself, so that
// bytes that are no message are INVALID_ARGUMENT; gRPC 1.51 would say INTERNAL.
#ifndef LOSSD_SERVER_MESSAGE_IO_H_
#define LOSSD_SERVER_MESSAGE_IO_H_

#include <google/protobuf/message.h>
#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// Called before a message is parsed, with the number of bytes that its repeated numbers will take
/// (without those of raw tensors). On an error the message is not parsed.
using AdmitParsed = std::function<absl::Status(uint64_t number_bytes)>;

/// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, if the bytes are no message of this type, or reason
/// FIELD_UNKNOWN if they have a field that this version does not know. Both are checked before
/// anything is parsed. RESOURCE_EXHAUSTED when memory runs out; otherwise the error of `admit`,
/// which may be empty.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message,
                          const AdmitParsed& admit = {});
/// The same for a message in the field `path` of another message.
absl::Status ParseMessage(const std::string& bytes, absl::string_view path,
                          google::protobuf::Message* message, const AdmitParsed& admit = {});

/// For messages that change no result: fields that this version does not know are left out.
absl::Status ReadMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

/// The number that the field of that number of an encoded message is; 0 where there is none.
uint64_t FindVarint(const grpc::ByteBuffer& bytes, int number);

/// The message's bytes. Throws std::bad_alloc.
grpc::Slice SerializeMessage(const google::protobuf::MessageLite& message);

}  // namespace lossd

#endif  // LOSSD_SERVER_MESSAGE_IO_H_
