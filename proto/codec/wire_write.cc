#include "proto/codec/wire_write.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/batch.h"
#include "core/dtype.h"
#include "core/exact_sum.h"
#include "core/options.h"
#include "core/plan.h"
#include "core/summary.h"
#include "core/tensor.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/service.pb.h"
#include "lossd/v1/tensor.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

void AppendVarint(uint64_t value, std::string* to) {
  uint8_t bytes[10];
  const uint8_t* const end = CodedOutputStream::WriteVarint64ToArray(value, bytes);
  to->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));  // NOLINT
}

/// As in proto3, 0 is not written.
void AppendCount(int number, uint64_t value, std::string* to) {
  if (value == 0) return;
  AppendVarint(WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_VARINT), to);
  AppendVarint(value, to);
}

void AppendSum(int number, const AnyExactSum& sum, std::string* to) {
  const ExactSumValue value = ToValue(sum);
  std::string bytes;
  if (!value.units.empty()) AppendField(v1::ExactSum::kUnitsFieldNumber, value.units, &bytes);
  AppendCount(v1::ExactSum::kNanCountFieldNumber, value.nan_count, &bytes);
  AppendCount(v1::ExactSum::kPositiveInfinityCountFieldNumber, value.positive_infinity_count,
              &bytes);
  AppendCount(v1::ExactSum::kNegativeInfinityCountFieldNumber, value.negative_infinity_count,
              &bytes);
  AppendField(number, bytes, to);
}

}  // namespace

std::string FieldPrefix(int number, size_t size) {
  std::string prefix;
  AppendVarint(WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED), &prefix);
  AppendVarint(size, &prefix);
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
  front.clear_loss_sum();
  front.clear_normalizer();
  front.clear_positions();
  front.clear_ignored();
  front.clear_correct();
  front.clear_correct_top_k();
  front.clear_top_k();
  v1::Summary back;
  back.set_top_k(summary.top_k);
  return {front.SerializeAsString(), back.SerializeAsString()};
}

void AppendSummary(int number, const SummaryFrame& frame, const Summary& summary, std::string* to) {
  std::string bytes = frame.front;
  AppendSum(v1::Summary::kLossSumFieldNumber, summary.loss_sum, &bytes);
  AppendSum(v1::Summary::kNormalizerFieldNumber, summary.normalizer, &bytes);
  AppendCount(v1::Summary::kPositionsFieldNumber, summary.positions, &bytes);
  AppendCount(v1::Summary::kIgnoredFieldNumber, summary.ignored, &bytes);
  AppendCount(v1::Summary::kCorrectFieldNumber, summary.correct, &bytes);
  AppendCount(v1::Summary::kCorrectTopKFieldNumber, summary.correct_top_k, &bytes);
  bytes += frame.back;
  AppendField(number, bytes, to);
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
