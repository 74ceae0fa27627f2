// Reading an encoded message in place, field by field.
#ifndef LOSSD_PROTO_CODEC_WIRE_READ_H_
#define LOSSD_PROTO_CODEC_WIRE_READ_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "core/sums/summary.h"
#include "proto/codec/wire_write.h"

namespace lossd {

/// Goes over the fields of a message that are varints or length-delimited; any other ends it.
///
///     FieldReader reader(message);
///     while (reader.Next()) { ... reader.number() ... }
///     if (!reader.done()) { /* malformed, or a field of another kind */ }
class FieldReader {
 public:
  explicit FieldReader(absl::string_view message) : left_(message) {}

  /// False at the end, and before what it does not read.
  bool Next();
  /// Whether the whole message has been read.
  [[nodiscard]] bool done() const { return left_.empty() && good_; }

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool delimited() const { return delimited_; }
  /// Of a varint.
  [[nodiscard]] uint64_t value() const { return value_; }
  /// Of a length-delimited field: its bytes, within the message.
  [[nodiscard]] absl::string_view bytes() const { return bytes_; }

 private:
  bool ReadVarint(uint64_t* value);

  absl::string_view left_;
  absl::string_view bytes_;
  uint64_t value_ = 0;
  int number_ = 0;
  bool delimited_ = false;
  bool good_ = true;
};

/// The raw bytes within an encoded v1.Tensor, where it is a type, a shape and raw bytes, each once,
/// and nothing else: what stands around the bytes then says all but their values. Of a tensor
/// without raw bytes the view is null.
std::optional<absl::string_view> PlainTensorBytes(absl::string_view tensor);

/// The sums and counts of an encoded v1.Summary of that frame, put into `summary`, whose other
/// members must be those of the frame. False where it is of another frame, or not as AppendSummary
/// writes it; then those may be lost.
bool ReadSummary(absl::string_view encoded, const SummaryFrame& frame, Summary* summary);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_READ_H_
