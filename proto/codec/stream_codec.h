// The messages of EvaluateStream on the wire, read and written without copying their bytes fields.
#ifndef LOSSD_PROTO_CODEC_STREAM_CODEC_H_
#define LOSSD_PROTO_CODEC_STREAM_CODEC_H_

#include <google/protobuf/io/zero_copy_stream.h>

#include <array>
#include <cstddef>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "lossd/v1/service.pb.h"

namespace lossd {

/// A field's bytes as they lie in the buffers that carried them.
using Pieces = absl::InlinedVector<absl::Span<const std::byte>, 4>;

/// The length-delimited fields 1 to 15 of one message, in place: pieces point into the stream's
/// buffers and live as long as those. As in protobuf, of a bytes field that comes twice the last
/// one counts, a submessage that comes twice is merged (its pieces follow each other), and unknown
/// fields are skipped.
class WireFields {
 public:
  /// INVALID_ARGUMENT, reason MALFORMED_MESSAGE, for bytes that are no protobuf message. Bit n of
  /// `submessages` says that field n is one.
  static absl::Status Read(google::protobuf::io::ZeroCopyInputStream* from, unsigned submessages,
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

/// Submessages among the fields of the two messages.
inline constexpr unsigned kStreamRequestSubmessages =
    1U << v1::EvaluateStreamRequest::kHeaderFieldNumber;
inline constexpr unsigned kStreamResponseSubmessages =
    1U << v1::EvaluateStreamResponse::kSummaryFieldNumber;

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_STREAM_CODEC_H_
