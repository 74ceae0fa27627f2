#include "proto/codec/stream_codec.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/problem/error.h"
#include "proto/codec/wire_check.h"
#include "proto/codec/wire_tag.h"

namespace lossd {
namespace {

using google::protobuf::io::CodedInputStream;

/// No message is this long. A greater length is false, and might not fit the stream's int.
constexpr uint32_t kMostBytes = uint32_t{1} << 30U;

/// Takes `length` bytes in place; false if the stream ends before them.
bool TakePieces(CodedInputStream* input, size_t length, Pieces* pieces) {
  while (length > 0) {
    const void* data = nullptr;
    int available = 0;
    if (!input->GetDirectBufferPointer(&data, &available)) return false;
    const size_t taken = std::min(length, static_cast<size_t>(available));
    pieces->push_back({static_cast<const std::byte*>(data), taken});
    if (!input->Skip(static_cast<int>(taken))) return false;
    length -= taken;
  }
  return true;
}

}  // namespace

absl::Status WireFields::Read(google::protobuf::io::ZeroCopyInputStream* from,
                              const google::protobuf::Descriptor& kind, Unknown unknown,
                              WireFields* to) {
  const auto malformed = [&kind] {
    return InvalidField("", "MALFORMED_MESSAGE", "expected an encoded ", kind.full_name());
  };
  CodedInputStream input(from);
  for (;;) {
    const uint32_t tag = input.ReadTag();
    if (tag == 0) {
      // ReadTag also returns 0 for a zero or truncated tag within the message.
      return input.ConsumedEntireMessage() ? absl::OkStatus() : malformed();
    }
    const int number = TagNumber(tag);
    const auto* const field = number < kFields ? kind.FindFieldByNumber(number) : nullptr;
    const bool delimited = TagType(tag) == WireType::kDelimited;
    if (field == nullptr || !delimited) {
      if (!SkipField(&input, tag)) return malformed();
      if (unknown == Unknown::kSkip) continue;
      return field == nullptr ? UnknownField("", kind, number) : malformed();
    }
    uint32_t length = 0;
    if (!input.ReadVarint32(&length) || length > kMostBytes) return malformed();
    Pieces& pieces = to->fields_[static_cast<size_t>(number)];
    if (field->message_type() == nullptr) pieces.clear();
    to->seen_ |= 1U << static_cast<unsigned>(number);
    if (!TakePieces(&input, length, &pieces)) return malformed();
  }
}

size_t WireFields::size(int field) const {
  size_t sum = 0;
  for (const auto& piece : pieces(field)) sum += piece.size();
  return sum;
}

std::string WireFields::Joined(int field) const {
  std::string joined;
  joined.reserve(size(field));
  for (const auto& piece : pieces(field)) {
    joined.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return joined;
}

}  // namespace lossd
