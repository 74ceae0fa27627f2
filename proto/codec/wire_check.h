// Checks encoded messages against their descriptors before Protobuf parses them. Protobuf keeps
// unknown fields, and groups among them take 27 times their size. A later client's option that this
// server does not know would be ignored silently, and the loss computed without it.
#ifndef LOSSD_PROTO_CODEC_WIRE_CHECK_H_
#define LOSSD_PROTO_CODEC_WIRE_CHECK_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// Checks a message of type `kind` and its submessages in one pass, to the end of `from`. Returns
/// the number of bytes that the elements of all repeated numbers (shapes, typed values) take once
/// parsed; bytes fields count as 0. INVALID_ARGUMENT with the path of the message at fault, which
/// begins with `path` ("" for the whole message). Its reason is FIELD_UNKNOWN for a field that the
/// message type does not have, or MALFORMED_MESSAGE for bytes that are no such message; a group, or
/// a wire type other than the field's, is malformed too. Allocates nothing unless it fails.
/// REQUIRES: `kind` does not contain itself.
absl::StatusOr<uint64_t> CheckWire(google::protobuf::io::ZeroCopyInputStream* from,
                                   const google::protobuf::Descriptor& kind,
                                   absl::string_view path);

/// INVALID_ARGUMENT, reason FIELD_UNKNOWN, about field `number` of the message of type `kind` at
/// `path`.
[[gnu::cold]] absl::Status UnknownField(absl::string_view path,
                                        const google::protobuf::Descriptor& kind, int number);

/// The value of the varint field `number` of a message; 0 if the field is absent or the bytes are
/// no message. As in Protobuf, the last occurrence counts.
uint64_t FindVarint(google::protobuf::io::ZeroCopyInputStream* from, int number);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_CHECK_H_
