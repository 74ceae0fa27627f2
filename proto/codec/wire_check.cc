#include "proto/codec/wire_check.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/error.h"
#include "proto/codec/wire_tag.h"

namespace lossd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::CodedInputStream;

/// Bytes of an element of a repeated number in memory; 0 for any other type.
uint64_t ElementBytes(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return 1;
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_FLOAT:
    case FieldDescriptor::CPPTYPE_ENUM:
      return 4;
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_UINT64:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return 8;
    default:
      return 0;
  }
}

/// A message being read, linked to the one that contains it. Only errors build the path from it.
struct Place {
  const Place* outer;
  absl::string_view name;  // The field's name; the path of the whole message if `outer` is null.
  int64_t index;           // Within a repeated field; -1 for any other field.
};

std::string PathOf(const Place& place) {
  if (place.outer == nullptr) return std::string(place.name);
  std::string path = PathOf(*place.outer);
  absl::StrAppend(&path, path.empty() ? "" : ".", place.name);
  if (place.index >= 0) absl::StrAppend(&path, "[", place.index, "]");
  return path;
}

class WireChecker {
 public:
  explicit WireChecker(CodedInputStream* input) : input_(*input) {}

  /// Checks a message up to the limit of the input, or its end.
  absl::Status Message(const Descriptor& kind, const Place& place) {
    // Elements of the repeated field so far. One counter is enough: no message type of ours has two
    // repeated fields that errors may name.
    int64_t elements = 0;
    while (const uint32_t tag = input_.ReadTag()) {
      const int number = TagNumber(tag);
      const FieldDescriptor* const field = kind.FindFieldByNumber(number);
      if (field == nullptr) {
        // Garbage is told from a later client's field as far as that can be: it ends too early.
        if (!SkipField(&input_, tag)) return Malformed(kind, place);
        return UnknownField(PathOf(place), kind, number);
      }
      const int64_t index = field->is_repeated() ? elements++ : -1;
      bool good = false;
      if (TagType(tag) == WireType::kDelimited) {
        LOSSD_RETURN_IF_ERROR(Delimited(*field, {&place, field->name(), index}, &good));
      } else {
        good = Number(*field, tag);
      }
      if (!good) return Malformed(kind, place);
    }
    // ReadTag also returns 0 for a zero or truncated tag within the message.
    if (!input_.ConsumedEntireMessage()) return Malformed(kind, place);
    return absl::OkStatus();
  }

  [[nodiscard]] uint64_t number_bytes() const { return number_bytes_; }

 private:
  static absl::Status Malformed(const Descriptor& kind, const Place& place) {
    return InvalidField(PathOf(place), "MALFORMED_MESSAGE", "expected an encoded ",
                        kind.full_name());
  }

  /// Checks and skips a fixed-size or varint field.
  bool Number(const FieldDescriptor& field, uint32_t tag) {
    const auto type = WireTypeOf(field);
    if (TagType(tag) != type || type == WireType::kDelimited) {
      return false;
    }
    if (field.is_repeated()) number_bytes_ += ElementBytes(field);
    return SkipField(&input_, tag);
  }

  /// Checks bytes, a submessage or packed numbers. `good`: whether they are valid for the field.
  absl::Status Delimited(const FieldDescriptor& field, const Place& place, bool* good) {
    int size = 0;
    if (!input_.ReadVarintSizeAsInt(&size)) return absl::OkStatus();
    // PushLimit silently clamps an inner limit to the outer one.
    const int left = input_.BytesUntilLimit();
    if (left >= 0 && size > left) return absl::OkStatus();
    if (field.message_type() != nullptr) {
      const auto outer = input_.PushLimit(size);
      LOSSD_RETURN_IF_ERROR(Message(*field.message_type(), place));
      // The stream may have ended before the limit.
      *good = input_.BytesUntilLimit() == 0;
      input_.PopLimit(outer);
    } else if (field.is_packable()) {
      *good = Packed(field, size);
    } else {
      *good = WireTypeOf(field) == WireType::kDelimited && input_.Skip(size);
    }
    return absl::OkStatus();
  }

  bool Packed(const FieldDescriptor& field, int size) {
    uint64_t count = 0;
    switch (WireTypeOf(field)) {
      case WireType::kFixed32:
        count = static_cast<uint64_t>(size) / 4;
        if (size % 4 != 0 || !input_.Skip(size)) return false;
        break;
      case WireType::kFixed64:
        count = static_cast<uint64_t>(size) / 8;
        if (size % 8 != 0 || !input_.Skip(size)) return false;
        break;
      default:
        if (!CountVarints(static_cast<size_t>(size), &count)) return false;
    }
    number_bytes_ += count * ElementBytes(field);
    return true;
  }

  /// Counts the bytes below 0x80: each ends a varint.
  bool CountVarints(size_t length, uint64_t* count) {
    while (length > 0) {
      const void* data = nullptr;
      int available = 0;
      if (!input_.GetDirectBufferPointer(&data, &available)) return false;
      const size_t taken = std::min(length, static_cast<size_t>(available));
      const auto* const bytes = static_cast<const uint8_t*>(data);
      *count += static_cast<uint64_t>(
          std::count_if(bytes, bytes + taken, [](uint8_t byte) { return byte < 0x80; }));
      if (!input_.Skip(static_cast<int>(taken))) return false;
      length -= taken;
    }
    return true;
  }

  CodedInputStream& input_;
  uint64_t number_bytes_ = 0;
};

}  // namespace

absl::Status UnknownField(absl::string_view path, const Descriptor& kind, int number) {
  return WithMetadata(
      InvalidField(path, "FIELD_UNKNOWN", "expected fields of ", kind.full_name(),
                   " that this server knows, got field ", number, " (a later client?)"),
      {{"message", kind.full_name()}, {"number", absl::StrCat(number)}});
}

absl::StatusOr<uint64_t> CheckWire(google::protobuf::io::ZeroCopyInputStream* from,
                                   const Descriptor& kind, absl::string_view path) {
  CodedInputStream input(from);
  WireChecker checker(&input);
  LOSSD_RETURN_IF_ERROR(checker.Message(kind, {nullptr, path, -1}));
  return checker.number_bytes();
}

uint64_t FindVarint(google::protobuf::io::ZeroCopyInputStream* from, int number) {
  CodedInputStream input(from);
  uint64_t found = 0;
  while (const uint32_t tag = input.ReadTag()) {
    if (tag == MakeTag(number, WireType::kVarint)) {
      if (!input.ReadVarint64(&found)) return 0;
    } else if (!SkipField(&input, tag)) {
      return 0;
    }
  }
  return input.ConsumedEntireMessage() ? found : 0;
}

}  // namespace lossd
