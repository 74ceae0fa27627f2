// Encoded messages held against their descriptors before Protobuf parses them. Protobuf keeps
// unknown fields, groups among them at 27 times their size, and a later client's option that this
// server does not know would silently give the loss without it.
#ifndef LOSSD_PROTO_CODEC_WIRE_CHECK_H_
#define LOSSD_PROTO_CODEC_WIRE_CHECK_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// Goes once over the bytes of a message of the kind, to the end of `from`, and into its
/// submessages. Returns how many bytes the elements of all repeated numbers (shapes, typed values)
/// take once they are parsed; bytes fields count for nothing. INVALID_ARGUMENT with the path of the
/// message at fault, which begins with `path` ("" for the whole): reason FIELD_UNKNOWN for a field
/// that the kind does not have, MALFORMED_MESSAGE for bytes that are no such message, a group or
/// another wire type than the field's included. Allocates nothing unless it fails. REQUIRES: the
/// kind does not contain itself.
absl::StatusOr<uint64_t> CheckWire(google::protobuf::io::ZeroCopyInputStream* from,
                                   const google::protobuf::Descriptor& kind,
                                   absl::string_view path);

/// INVALID_ARGUMENT, reason FIELD_UNKNOWN, about a field of the message of this kind at `path`.
[[gnu::cold]] absl::Status UnknownField(absl::string_view path,
                                        const google::protobuf::Descriptor& kind, int number);

/// The number that the field of that number of a message is, a varint; 0 where it is not there or
/// the bytes are no message. As in Protobuf the last one counts.
uint64_t FindVarint(google::protobuf::io::ZeroCopyInputStream* from, int number);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_CHECK_H_
