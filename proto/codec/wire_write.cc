#include "proto/codec/wire_write.h"

#include <google/protobuf/io/coded_stream.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/batch.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/service.pb.h"
#include "lossd/v1/tensor.pb.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/tensor_codec.h"
#include "proto/codec/wire_tag.h"

namespace lossd {
namespace {

using google::protobuf::io::CodedOutputStream;

// Write* functions need a large enough buffer and return the new end of its contents. They avoid
// nested strings, which tripled the code: the time of a small reply is that of code not yet in any
// cache.

/// Maximum size of a varint: a tag, a length or a number.
constexpr size_t kMostVarint = 10;
constexpr size_t kMostSum =
    3 * kMostVarint + ExactSum<double>::kMostUnitBytes + size_t{3} * 2 * kMostVarint;
constexpr size_t kMostCounted = 2 * (kMostSum + 2 * kMostVarint) + size_t{4} * 2 * kMostVarint;

uint8_t* WriteTag(int number, WireType type, uint8_t* at) {
  return CodedOutputStream::WriteVarint32ToArray(MakeTag(number, type), at);
}

/// As in proto3, 0 is not written.
uint8_t* WriteCount(int number, uint64_t value, uint8_t* at) {
  if (value == 0) return at;
  at = WriteTag(number, WireType::kVarint, at);
  return CodedOutputStream::WriteVarint64ToArray(value, at);
}

uint8_t* WritePrefix(int number, size_t size, uint8_t* at) {
  at = WriteTag(number, WireType::kDelimited, at);
  return CodedOutputStream::WriteVarint64ToArray(size, at);
}

uint8_t* WriteField(int number, const void* bytes, size_t size, uint8_t* at) {
  at = WritePrefix(number, size, at);
  std::memcpy(at, bytes, size);
  return at + size;
}

uint8_t* WriteSum(int number, const AnyExactSum& sum, uint8_t* at) {
  return std::visit(
      [number, at](const auto& exact) {
        std::array<uint8_t, kMostSum> fields;
        uint8_t* end = fields.data();
        const absl::Span<const std::byte> units = exact.units();
        if (!units.empty()) {
          end = WriteField(v1::ExactSum::kUnitsFieldNumber, units.data(), units.size(), end);
        }
        end = WriteCount(v1::ExactSum::kNanCountFieldNumber, exact.nan_count(), end);
        end = WriteCount(v1::ExactSum::kPositiveInfinityCountFieldNumber,
                         exact.positive_infinity_count(), end);
        end = WriteCount(v1::ExactSum::kNegativeInfinityCountFieldNumber,
                         exact.negative_infinity_count(), end);
        return WriteField(number, fields.data(), static_cast<size_t>(end - fields.data()), at);
      },
      sum);
}

void AppendBytes(const uint8_t* begin, const uint8_t* end, std::string* to) {
  to->append(reinterpret_cast<const char*>(begin), static_cast<size_t>(end - begin));  // NOLINT
}

void AppendVarint(uint64_t value, std::string* to) {
  std::array<uint8_t, kMostVarint> bytes;
  AppendBytes(bytes.data(), CodedOutputStream::WriteVarint64ToArray(value, bytes.data()), to);
}

void AppendCount(int number, uint64_t value, std::string* to) {
  std::array<uint8_t, 2 * kMostVarint> field;
  AppendBytes(field.data(), WriteCount(number, value, field.data()), to);
}

}  // namespace

std::string FieldPrefix(int number, size_t size) {
  std::string prefix;
  std::array<uint8_t, 2 * kMostVarint> bytes;
  AppendBytes(bytes.data(), WritePrefix(number, size, bytes.data()), &prefix);
  return prefix;
}

void AppendField(int number, absl::string_view bytes, std::string* to) {
  *to += FieldPrefix(number, bytes.size());
  to->append(bytes.data(), bytes.size());
}

void AppendTensorHead(int number, DType dtype, const Shape& shape, size_t size, std::string* to) {
  size_t sizes = 0;
  for (const int64_t length : shape) {
    sizes += CodedOutputStream::VarintSize64(static_cast<uint64_t>(length));
  }
  std::string head;
  AppendCount(v1::Tensor::kDtypeFieldNumber, static_cast<uint64_t>(ToWire(dtype)), &head);
  if (!shape.empty()) head += FieldPrefix(v1::Tensor::kShapeFieldNumber, sizes);
  for (const int64_t length : shape) AppendVarint(static_cast<uint64_t>(length), &head);
  head += FieldPrefix(v1::Tensor::kRawFieldNumber, size);
  *to += FieldPrefix(number, head.size() + size);
  *to += head;
}

SummaryFrame FrameOf(const Summary& summary) {
  v1::Summary front;
  ToWire(summary, &front);
  v1::Summary back;
  back.set_top_k(summary.top_k);
  *back.mutable_weight_digest() = front.weight_digest();
  front.clear_loss_sum();
  front.clear_normalizer();
  front.clear_positions();
  front.clear_ignored();
  front.clear_correct();
  front.clear_correct_top_k();
  front.clear_top_k();
  front.clear_weight_digest();
  return {front.SerializeAsString(), back.SerializeAsString()};
}

void AppendSummary(int number, const SummaryFrame& frame, const Summary& summary, std::string* to) {
  std::array<uint8_t, kMostCounted> fields;
  uint8_t* end = WriteSum(v1::Summary::kLossSumFieldNumber, summary.loss_sum, fields.data());
  end = WriteSum(v1::Summary::kNormalizerFieldNumber, summary.normalizer, end);
  end = WriteCount(v1::Summary::kPositionsFieldNumber, summary.positions, end);
  end = WriteCount(v1::Summary::kIgnoredFieldNumber, summary.ignored, end);
  end = WriteCount(v1::Summary::kCorrectFieldNumber, summary.correct, end);
  end = WriteCount(v1::Summary::kCorrectTopKFieldNumber, summary.correct_top_k, end);
  const auto size = static_cast<size_t>(end - fields.data());
  std::array<uint8_t, 2 * kMostVarint> prefix;
  const size_t whole = frame.front.size() + size + frame.back.size();
  AppendBytes(prefix.data(), WritePrefix(number, whole, prefix.data()), to);
  *to += frame.front;
  AppendBytes(fields.data(), end, to);
  *to += frame.back;
}

ResponseFrame FrameOf(const Plan& plan, SummaryFrame summary) {
  using Response = v1::EvaluateResponse;
  const Outputs& wanted = plan.outputs();
  const OutputSizes sizes = SizesOf(plan);
  ResponseFrame frame;
  const auto head = [](bool want, int field, DType dtype, const Shape& shape, size_t size,
                       std::string* to) {
    if (want) AppendTensorHead(field, dtype, shape, size, to);
  };
  head(wanted.loss, Response::kLossFieldNumber, plan.loss_dtype(), plan.LossShape(), sizes.loss,
       &frame.loss);
  head(wanted.log_sum_exp, Response::kLogSumExpFieldNumber, plan.loss_dtype(), plan.PositionShape(),
       sizes.log_sum_exp, &frame.log_sum_exp);
  head(wanted.grad_weight, Response::kGradWeightFieldNumber, plan.WeightDType(), {plan.classes()},
       sizes.grad_weight, &frame.grad_weight);
  frame.summary = std::move(summary);
  head(wanted.grad_target, Response::kGradTargetFieldNumber, plan.target().dtype,
       plan.target().shape, sizes.grad_target, &frame.grad_target);
  head(wanted.grad_input, Response::kGradInputFieldNumber, plan.input().dtype, plan.input().shape,
       sizes.grad_input, &frame.grad_input);
  return frame;
}

}  // namespace lossd
