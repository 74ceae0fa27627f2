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

/// A field's bytes as they lie in the buffers that carried them.
using Pieces = absl::InlinedVector<absl::Span<const std::byte>, 4>;

/// The length-delimited fields 1 to 15 of one message, in place: pieces point into the stream's
/// buffers and live as long as those. As in protobuf, of a bytes field that comes twice the last
/// one counts, and a submessage that comes twice is merged (its pieces follow each other).
class WireFields {
 public:
  /// What becomes of fields that the kind does not have.
  enum class Unknown {
    kRefuse,  ///< INVALID_ARGUMENT, reason FIELD_UNKNOWN: of a request, whose loss it may change.
    kSkip,    ///< Nothing: of an answer, from a later server.
  };

  /// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, for bytes that are no protobuf message, or have a
  /// field of the kind with another wire type (unless unknown fields are skipped, as it is then).
  static absl::Status Read(google::protobuf::io::ZeroCopyInputStream* from,
                           const google::protobuf::Descriptor& kind, Unknown unknown,
                           WireFields* to);

  /// REQUIRES: 1 <= field <= 15.
  [[nodiscard]] const Pieces& pieces(int field) const {
    return fields_[static_cast<size_t>(field)];
  }
  /// Whether the field was there at all, be it with no bytes.
  [[nodiscard]] bool has(int field) const {
    return (seen_ >> static_cast<unsigned>(field) & 1U) != 0;
  }
  [[nodiscard]] size_t size(int field) const;
  /// The field's bytes, copied together.
  [[nodiscard]] std::string Joined(int field) const;

 private:
  static constexpr int kFields = 16;
  std::array<Pieces, kFields> fields_;
  unsigned seen_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_STREAM_CODEC_H_
