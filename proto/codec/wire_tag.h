// Tags of encoded fields, as Protobuf's encoding page specifies. Protobuf's own helpers are
// internal.
#ifndef LOSSD_PROTO_CODEC_WIRE_TAG_H_
#define LOSSD_PROTO_CODEC_WIRE_TAG_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>

#include <cstdint>

namespace lossd {

enum class WireType : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};

constexpr uint32_t MakeTag(int number, WireType type) {
  return static_cast<uint32_t>(number) << 3U | static_cast<uint32_t>(type);
}
constexpr int TagNumber(uint32_t tag) { return static_cast<int>(tag >> 3U); }
/// The result may not be an enumerator: tags come from the peer.
constexpr WireType TagType(uint32_t tag) { return static_cast<WireType>(tag & 7U); }

/// The wire type of an element of the field when it is not packed.
WireType WireTypeOf(const google::protobuf::FieldDescriptor& field);

/// Skips the field whose tag was read last; false if it is malformed or nested too deeply.
bool SkipField(google::protobuf::io::CodedInputStream* input, uint32_t tag);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_TAG_H_
