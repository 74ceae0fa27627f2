#include "proto/codec/wire_read.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/problem/dtype.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/tensor.pb.h"
#include "proto/codec/wire_tag.h"
#include "proto/codec/wire_write.h"

namespace lossd {

namespace {

bool ReadSum(absl::string_view encoded, DType loss_dtype, AnyExactSum* sum) {
  ExactSumValue value;
  FieldReader reader(encoded);
  while (reader.Next()) {
    if (reader.number() == v1::ExactSum::kUnitsFieldNumber && reader.delimited()) {
      value.units.assign(reader.bytes().data(), reader.bytes().size());
      continue;
    }
    if (reader.delimited()) return false;
    switch (reader.number()) {
      case v1::ExactSum::kNanCountFieldNumber:
        value.nan_count = reader.value();
        break;
      case v1::ExactSum::kPositiveInfinityCountFieldNumber:
        value.positive_infinity_count = reader.value();
        break;
      case v1::ExactSum::kNegativeInfinityCountFieldNumber:
        value.negative_infinity_count = reader.value();
        break;
      default:
        return false;
    }
  }
  if (!reader.done()) return false;
  auto read = AnyExactSumFromValue(loss_dtype, value);
  if (!read.ok()) return false;
  *sum = *std::move(read);
  return true;
}

}  // namespace

bool FieldReader::ReadVarint(uint64_t* value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64 && !left_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(left_.front());
    left_.remove_prefix(1);
    *value |= static_cast<uint64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80) return true;
  }
  return good_ = false;
}

bool FieldReader::Next() {
  if (left_.empty() || !good_) return false;
  uint64_t tag = 0;
  if (!ReadVarint(&tag) || tag > UINT32_MAX) return good_ = false;
  number_ = TagNumber(static_cast<uint32_t>(tag));
  const WireType type = TagType(static_cast<uint32_t>(tag));
  delimited_ = type == WireType::kDelimited;
  if (number_ == 0 || (!delimited_ && type != WireType::kVarint)) {
    return good_ = false;
  }
  if (!ReadVarint(&value_)) return false;
  if (!delimited_) return true;
  if (value_ > left_.size()) return good_ = false;
  bytes_ = left_.substr(0, static_cast<size_t>(value_));
  left_.remove_prefix(bytes_.size());
  return true;
}

std::optional<absl::string_view> PlainTensorBytes(absl::string_view tensor) {
  absl::string_view raw;
  unsigned seen = 0;
  FieldReader reader(tensor);
  while (reader.Next()) {
    unsigned bit = 0;
    if (reader.number() == v1::Tensor::kDtypeFieldNumber && !reader.delimited()) {
      bit = 1;
    } else if (reader.number() == v1::Tensor::kShapeFieldNumber && reader.delimited()) {
      bit = 2;
    } else if (reader.number() == v1::Tensor::kRawFieldNumber && reader.delimited()) {
      bit = 4;
      raw = reader.bytes();
    }
    if (bit == 0 || (seen & bit) != 0) return std::nullopt;
    seen |= bit;
  }
  if (!reader.done()) return std::nullopt;
  return raw;
}

bool ReadSummary(absl::string_view encoded, const SummaryFrame& frame, Summary* summary) {
  if (!absl::ConsumePrefix(&encoded, frame.front) || !absl::ConsumeSuffix(&encoded, frame.back)) {
    return false;
  }
  const DType loss_dtype = LossDType(summary->input_dtype);
  summary->positions = summary->ignored = summary->correct = summary->correct_top_k = 0;
  constexpr unsigned kSums =
      (1U << v1::Summary::kLossSumFieldNumber) | (1U << v1::Summary::kNormalizerFieldNumber);
  unsigned seen = 0;
  FieldReader reader(encoded);
  while (reader.Next()) {
    const int number = reader.number();
    const bool is_sum =
        number == v1::Summary::kLossSumFieldNumber || number == v1::Summary::kNormalizerFieldNumber;
    if (is_sum != reader.delimited()) return false;
    // Protobuf would merge repeated occurrences; they are refused here.
    const unsigned bit = 1U << (static_cast<unsigned>(number) & 31U);
    if ((seen & bit) != 0) return false;
    seen |= bit;
    switch (number) {
      case v1::Summary::kLossSumFieldNumber:
        if (!ReadSum(reader.bytes(), loss_dtype, &summary->loss_sum)) return false;
        break;
      case v1::Summary::kNormalizerFieldNumber:
        if (!ReadSum(reader.bytes(), loss_dtype, &summary->normalizer)) return false;
        break;
      case v1::Summary::kPositionsFieldNumber:
        summary->positions = reader.value();
        break;
      case v1::Summary::kIgnoredFieldNumber:
        summary->ignored = reader.value();
        break;
      case v1::Summary::kCorrectFieldNumber:
        summary->correct = reader.value();
        break;
      case v1::Summary::kCorrectTopKFieldNumber:
        summary->correct_top_k = reader.value();
        break;
      default:
        return false;
    }
  }
  return reader.done() && (seen & kSums) == kSums;
}

}  // namespace lossd
