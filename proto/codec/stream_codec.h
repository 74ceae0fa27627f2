// The messages of EvaluateStream on the wire, read and written without copying their bytes fields.
#ifndef LOSSD_PROTO_CODEC_STREAM_CODEC_H_
#define LOSSD_PROTO_CODEC_STREAM_CODEC_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <array>
#include <cstddef>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace lossd {

/// A field's bytes, in place in the buffers that carried them.
using Pieces = absl::InlinedVector<absl::Span<const std::byte>, 4>;

/// The length-delimited fields 1 to 15 of one message, in place: pieces point into the stream's
/// buffers and are valid as long as the buffers. As in protobuf, the last occurrence of a bytes
/// field counts, and the occurrences of a submessage are merged (their pieces are concatenated).
class WireFields {
 public:
  /// How to treat fields that the message type does not have.
  enum class Unknown {
    kRefuse,  ///< INVALID_ARGUMENT, reason FIELD_UNKNOWN. For requests: a field may change the
              ///< loss.
    kSkip,    ///< Ignore them. For replies, which may come from a later server.
  };

  /// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, for bytes that are no protobuf message, or that
  /// have a field of `kind` with another wire type (with kSkip, such a field is skipped).
  static absl::Status Read(google::protobuf::io::ZeroCopyInputStream* from,
                           const google::protobuf::Descriptor& kind, Unknown unknown,
                           WireFields* to);

  /// REQUIRES: 1 <= field <= 15.
  [[nodiscard]] const Pieces& pieces(int field) const {
    return fields_[static_cast<size_t>(field)];
  }
  /// Whether the field was present, even if empty.
  [[nodiscard]] bool has(int field) const {
    return (seen_ >> static_cast<unsigned>(field) & 1U) != 0;
  }
  [[nodiscard]] size_t size(int field) const;
  /// The field's bytes, copied into one string.
  [[nodiscard]] std::string Joined(int field) const;

 private:
  static constexpr int kFields = 16;
  std::array<Pieces, kFields> fields_;
  unsigned seen_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_STREAM_CODEC_H_
