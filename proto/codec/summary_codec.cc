#include "proto/codec/summary_codec.h"

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/plan.h"
#include "core/sums/check_summary.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"
#include "lossd/v1/criterion.pb.h"
#include "proto/codec/criterion_codec.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {
namespace {

void ToWire(const ExactSumValue& value, v1::ExactSum* wire) {
  wire->set_units(value.units);
  wire->set_nan_count(value.nan_count);
  wire->set_positive_infinity_count(value.positive_infinity_count);
  wire->set_negative_infinity_count(value.negative_infinity_count);
}

absl::StatusOr<AnyExactSum> ParseSum(DType dtype, const v1::ExactSum& wire,
                                     absl::string_view field) {
  auto sum = AnyExactSumFromValue(LossDType(dtype),
                                  {wire.units(), wire.nan_count(), wire.positive_infinity_count(),
                                   wire.negative_infinity_count()});
  if (!sum.ok()) return InvalidField(field, "SUMMARY_OVERFLOW", sum.status().message());
  return sum;
}

/// Little-endian; no bytes for 0, which stands for no weights.
std::string DigestBytes(uint64_t digest) {
  std::string bytes;
  for (; digest != 0 || (!bytes.empty() && bytes.size() < sizeof(digest)); digest >>= 8U) {
    bytes.push_back(static_cast<char>(digest & 0xFFU));
  }
  return bytes;
}

absl::Status ParseDigest(absl::string_view bytes, uint64_t* digest) {
  *digest = 0;
  if (bytes.empty()) return absl::OkStatus();
  if (bytes.size() != sizeof(*digest)) {
    return WithMetadata(
        InvalidField("weight_digest", "LENGTH_MISMATCH",
                     "expected 8 bytes, or none without weights, got ", bytes.size()),
        ExpectedMetadata(sizeof(*digest), bytes.size()));
  }
  for (size_t i = sizeof(*digest); i-- > 0;) {
    *digest = *digest << 8U | static_cast<uint8_t>(bytes[i]);
  }
  if (*digest != 0) return absl::OkStatus();
  return InvalidField("weight_digest", "SUMMARY_INCONSISTENT", "expected other bytes than zeros");
}

/// Parses the criterion, and rejects the fields that it must not have in a summary.
absl::Status ParseSummaryCriterion(const v1::Criterion& wire, Criterion* criterion) {
  LOSSD_RETURN_IF_ERROR(ParseCriterion(wire, criterion));
  if (FindWeight(wire) != nullptr) {
    return InvalidField(criterion->PathOf("weight"), "SUMMARY_MISMATCH",
                        "expected none: weight_digest stands for it");
  }
  ClassOptions& options = criterion->class_options();
  if (options.class_axis) {
    return InvalidField(criterion->PathOf("class_axis"), "SUMMARY_MISMATCH",
                        "expected none: it says where data lie, and not what they add up to");
  }
  if (!options.ignore_index) options.ignore_index = kDefaultIgnoreIndex;
  return absl::OkStatus();
}

/// Field paths are relative to the summary.
absl::StatusOr<Summary> Decode(const v1::Summary& wire) {
  Summary summary;
  LOSSD_RETURN_IF_ERROR(ParseSummaryCriterion(wire.criterion(), &summary.criterion));
  const auto dtype = ParseDType(wire.dtype(), "");
  if (!dtype.ok()) return dtype.status();
  if (!IsFloating(*dtype)) {
    return InvalidField("dtype", "DTYPE_UNSUPPORTED", "expected a floating type, got ",
                        Name(*dtype));
  }
  summary.input_dtype = *dtype;
  switch (wire.target_kind()) {
    case v1::TARGET_KIND_CLASS_INDEX:
      summary.target_kind = TargetKind::kClassIndex;
      break;
    case v1::TARGET_KIND_PROBABILITIES:
      summary.target_kind = TargetKind::kProbabilities;
      break;
    default:
      return InvalidField("target_kind", "ENUM_UNKNOWN", "expected a known value, got ",
                          static_cast<int>(wire.target_kind()));
  }
  summary.classes = wire.classes();
  LOSSD_RETURN_IF_ERROR(ParseDigest(wire.weight_digest(), &summary.weight_digest));
  auto loss_sum = ParseSum(*dtype, wire.loss_sum(), "loss_sum");
  if (!loss_sum.ok()) return loss_sum.status();
  summary.loss_sum = *std::move(loss_sum);
  auto normalizer = ParseSum(*dtype, wire.normalizer(), "normalizer");
  if (!normalizer.ok()) return normalizer.status();
  summary.normalizer = *std::move(normalizer);
  summary.positions = wire.positions();
  summary.ignored = wire.ignored();
  summary.correct = wire.correct();
  summary.correct_top_k = wire.correct_top_k();
  summary.top_k = wire.top_k();
  return summary;
}

}  // namespace

void ToWire(const Summary& summary, v1::Summary* wire) {
  ToWire(summary.criterion, wire->mutable_criterion());
  wire->set_dtype(ToWire(summary.input_dtype));
  wire->set_target_kind(summary.target_kind == TargetKind::kClassIndex
                            ? v1::TARGET_KIND_CLASS_INDEX
                            : v1::TARGET_KIND_PROBABILITIES);
  wire->set_classes(summary.classes);
  wire->set_weight_digest(DigestBytes(summary.weight_digest));
  ToWire(ToValue(summary.loss_sum), wire->mutable_loss_sum());
  ToWire(ToValue(summary.normalizer), wire->mutable_normalizer());
  wire->set_positions(summary.positions);
  wire->set_ignored(summary.ignored);
  wire->set_correct(summary.correct);
  wire->set_correct_top_k(summary.correct_top_k);
  wire->set_top_k(summary.top_k);
}

absl::StatusOr<Summary> DecodeSummary(const v1::Summary& wire, absl::string_view field) {
  auto summary = Decode(wire);
  if (!summary.ok()) return WithFieldPrefix(summary.status(), absl::StrCat(field, "."));
  return summary;
}

absl::StatusOr<Summary> ParseSummary(const v1::Summary& wire, absl::string_view field) {
  auto summary = DecodeSummary(wire, field);
  if (!summary.ok()) return summary;
  const absl::Status consistent = CheckSummary(*summary);
  if (!consistent.ok()) return WithFieldPrefix(consistent, absl::StrCat(field, "."));
  return summary;
}

}  // namespace lossd
