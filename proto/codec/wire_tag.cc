#include "proto/codec/wire_tag.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>

#include <cstdint>
#include <limits>

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedInputStream;

bool SkipBytes(CodedInputStream* input, uint32_t count) {
  return count <= std::numeric_limits<int>::max() && input->Skip(static_cast<int>(count));
}

/// Skips up to and including the end tag of the group.
bool SkipGroup(CodedInputStream* input, int number) {  // NOLINT(misc-no-recursion)
  if (!input->IncrementRecursionDepth()) return false;
  while (const uint32_t tag = input->ReadTag()) {
    if (TagType(tag) == WireType::kEndGroup) {
      input->DecrementRecursionDepth();
      return TagNumber(tag) == number;
    }
    if (!SkipField(input, tag)) return false;
  }
  return false;
}

}  // namespace

WireType WireTypeOf(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      return WireType::kFixed64;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      return WireType::kFixed32;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
    case FieldDescriptor::TYPE_MESSAGE:
      return WireType::kDelimited;
    case FieldDescriptor::TYPE_GROUP:
      return WireType::kStartGroup;
    default:
      return WireType::kVarint;
  }
}

bool SkipField(CodedInputStream* input, uint32_t tag) {  // NOLINT(misc-no-recursion)
  if (TagNumber(tag) == 0) return false;
  uint64_t value = 0;
  uint32_t length = 0;
  switch (TagType(tag)) {
    case WireType::kVarint:
      return input->ReadVarint64(&value);
    case WireType::kFixed64:
      return SkipBytes(input, 8);
    case WireType::kFixed32:
      return SkipBytes(input, 4);
    case WireType::kDelimited:
      return input->ReadVarint32(&length) && SkipBytes(input, length);
    case WireType::kStartGroup:
      return SkipGroup(input, TagNumber(tag));
    default:
      return false;
  }
}

}  // namespace lossd
