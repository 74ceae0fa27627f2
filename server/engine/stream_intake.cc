#include "server/engine/stream_intake.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/tensor.h"

namespace lossd {
namespace {

/// The operands in the order in which the fields of one message are consumed.
constexpr Operand kInOrder[] = {Operand::kWeight, Operand::kTarget, Operand::kGradOutput,
                                Operand::kInput};

absl::string_view FieldName(Operand operand) {
  switch (operand) {
    case Operand::kWeight:
      return "weight";
    case Operand::kTarget:
      return "target";
    case Operand::kGradOutput:
      return "grad_output";
    default:
      return "input";
  }
}

/// REQUIRES: the spec belongs to a plan, which has checked that nothing overflows.
int64_t BytesOf(const TensorSpec& spec) {
  if (std::find(spec.shape.begin(), spec.shape.end(), 0) != spec.shape.end()) return 0;
  auto bytes = static_cast<int64_t>(SizeOf(spec.dtype));
  for (const int64_t size : spec.shape) bytes *= size;
  return bytes;
}

}  // namespace

StreamIntake::StreamIntake(const Plan& plan, const UnitLayout& layout, int64_t max_skew_bytes)
    : layout_(layout),
      max_skew_bytes_(max_skew_bytes),
      positions_(plan.positions()),
      labels_first_(plan.NeedsLabelsForScale()) {
  const auto total = [this](Operand operand) -> int64_t& {
    return total_[static_cast<size_t>(operand)];
  };
  total(Operand::kTarget) = BytesOf(plan.target());
  if (plan.grad_output()) total(Operand::kGradOutput) = BytesOf(*plan.grad_output());
  total(Operand::kInput) = BytesOf(plan.input());
  if (plan.weight_follows()) {
    total(Operand::kWeight) = BytesOf({plan.WeightDType(), {plan.classes()}});
  }
}

absl::Status StreamIntake::Take(Operand operand, size_t bytes) {
  if (operand != Operand::kWeight && !Whole(Operand::kWeight)) {
    return InvalidField(FieldName(operand), "WEIGHT_AFTER_DATA", "expected all ",
                        total(Operand::kWeight), " bytes of the weight before it, got ",
                        received(Operand::kWeight));
  }
  int64_t& received = received_[static_cast<size_t>(operand)];
  if (operand == Operand::kWeight && total(operand) == 0) {
    return InvalidField("weight", "LENGTH_EXCEEDED",
                        "expected none: the criterion in the header has no weight, or has it with "
                        "its data");
  }
  if (bytes > static_cast<uint64_t>(total(operand) - received)) {
    const uint64_t got = static_cast<uint64_t>(received) + bytes;
    return WithMetadata(InvalidField(FieldName(operand), "LENGTH_EXCEEDED", "expected ",
                                     total(operand), " bytes in all, got at least ", got),
                        ExpectedMetadata(total(operand), got));
  }
  received += static_cast<int64_t>(bytes);
  return absl::OkStatus();
}

absl::Status StreamIntake::CheckLabelsLead(int64_t labelled) const {
  const int64_t sample_bytes =
      layout_.operand_bytes[static_cast<size_t>(Operand::kInput)] * layout_.inner;
  const int64_t needed = labels_first_
                             ? positions_
                             : CeilDivide(received(Operand::kInput), sample_bytes) * layout_.inner;
  if (labelled >= needed) return absl::OkStatus();
  return InvalidField(
      "input", "TARGET_AFTER_INPUT", "expected the labels of ", needed,
      " positions before these bytes, got ", labelled,
      labels_first_ ? "; all labels come first for mean with a gradient and no normalizer" : "");
}

absl::Status StreamIntake::CheckSkew() const {
  const auto input = static_cast<size_t>(Operand::kInput);
  const int64_t input_each = layout_.operand_bytes[input];
  // A scalar incoming gradient is needed before any evaluation.
  const bool scalar_missing =
      layout_.operand_bytes[static_cast<size_t>(Operand::kGradOutput)] == 0 &&
      !Whole(Operand::kGradOutput);
  if (scalar_missing && received_[input] > max_skew_bytes_) {
    return WithMetadata(
        FieldError(
            absl::StatusCode::kFailedPrecondition, "grad_output", "STREAM_SKEW",
            absl::StrCat("expected it within the first ", max_skew_bytes_, " bytes of input")),
        LimitMetadata("max_stream_skew_bytes", max_skew_bytes_, received_[input]));
  }
  for (const Operand operand : {Operand::kTarget, Operand::kGradOutput}) {
    const auto which = static_cast<size_t>(operand);
    const int64_t each = layout_.operand_bytes[which];
    if (each == 0) continue;
    // One sample is always allowed: strided classes cannot be evaluated with less.
    const int64_t ahead_positions = received_[which] / each - received_[input] / input_each;
    const int64_t ahead =
        ahead_positions >= 0 ? ahead_positions * each : -ahead_positions * input_each;
    const int64_t most = std::max(max_skew_bytes_, layout_.inner * std::max(each, input_each));
    if (ahead <= most) continue;
    return WithMetadata(
        FieldError(absl::StatusCode::kFailedPrecondition, FieldName(operand), "STREAM_SKEW",
                   absl::StrCat("expected it within ", most, " bytes of the input, got it ", ahead,
                                " bytes ", ahead_positions >= 0 ? "ahead" : "behind")),
        LimitMetadata("max_stream_skew_bytes", most, ahead));
  }
  return absl::OkStatus();
}

absl::Status StreamIntake::CheckEnd() const {
  for (const Operand operand : kInOrder) {
    if (Whole(operand)) continue;
    return WithMetadata(
        InvalidField(FieldName(operand), "LENGTH_MISMATCH", "expected ", total(operand),
                     " bytes in all, got ", received(operand), " when the stream ended"),
        ExpectedMetadata(total(operand), received(operand)));
  }
  return absl::OkStatus();
}

}  // namespace lossd
