// Reads an encoded message in place, field by field.
#ifndef LOSSD_PROTO_CODEC_WIRE_READ_H_
#define LOSSD_PROTO_CODEC_WIRE_READ_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "core/sums/summary.h"
#include "proto/codec/wire_write.h"

namespace lossd {

/// Iterates over the varint and length-delimited fields of a message; stops at any other field.
///
///     FieldReader reader(message);
///     while (reader.Next()) { ... reader.number() ... }
///     if (!reader.done()) { /* malformed, or a field of another wire type */ }
class FieldReader {
 public:
  explicit FieldReader(absl::string_view message) : left_(message) {}

  /// False at the end, and at a field that it does not read.
  bool Next();
  /// Whether the whole message has been read.
  [[nodiscard]] bool done() const { return left_.empty() && good_; }

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool delimited() const { return delimited_; }
  /// The value of a varint field.
  [[nodiscard]] uint64_t value() const { return value_; }
  /// The bytes of a length-delimited field, within the message.
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

/// The raw bytes within an encoded v1.Tensor; a null view if it has none. nullopt unless the tensor
/// consists of a type, a shape and raw bytes, each at most once: the message without the raw bytes
/// then determines all but their values.
std::optional<absl::string_view> PlainTensorBytes(absl::string_view tensor);

/// Reads the sums and counts of an encoded v1.Summary with this frame into `summary`. False if the
/// frame differs, or AppendSummary would not write such bytes; the sums and counts in `summary` may
/// then be lost. REQUIRES: the other members of `summary` are those of the frame.
bool ReadSummary(absl::string_view encoded, const SummaryFrame& frame, Summary* summary);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_READ_H_
