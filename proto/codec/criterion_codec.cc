#include "proto/codec/criterion_codec.h"

#include <cstddef>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/criterion.h"
#include "core/problem/cross_entropy.h"
#include "core/problem/error.h"
#include "core/problem/nll_loss.h"
#include "lossd/v1/criterion.pb.h"

namespace lossd {
namespace {

// For each kind: its message within the criterion, and the options that only this kind has.

v1::CrossEntropy* MessageOf(const CrossEntropy& /*kind*/, v1::Criterion* wire) {
  return wire->mutable_cross_entropy();
}
void ParseOwn(const v1::CrossEntropy& message, CrossEntropy* kind) {
  kind->label_smoothing = message.label_smoothing();
}
void FillOwn(const CrossEntropy& kind, v1::CrossEntropy* message) {
  message->set_label_smoothing(kind.label_smoothing);
}

v1::NllLoss* MessageOf(const NllLoss& /*kind*/, v1::Criterion* wire) {
  return wire->mutable_nll_loss();
}
void ParseOwn(const v1::NllLoss& /*message*/, NllLoss* /*kind*/) {}
void FillOwn(const NllLoss& /*kind*/, v1::NllLoss* /*message*/) {}

/// Calls visit(message, kind) with the message that is set, and its kind with default options.
/// INVALID_ARGUMENT if no message is set.
template <typename Visit>
absl::Status VisitKind(const v1::Criterion& wire, const Visit& visit) {
  switch (wire.kind_case()) {
    case v1::Criterion::kCrossEntropy:
      visit(wire.cross_entropy(), CrossEntropy());
      return absl::OkStatus();
    case v1::Criterion::kNllLoss:
      visit(wire.nll_loss(), NllLoss());
      return absl::OkStatus();
    case v1::Criterion::KIND_NOT_SET:
      break;
  }
  return InvalidField("criterion", "FIELD_MISSING", "expected a loss: cross_entropy or nll_loss");
}

// Common to all kinds.

absl::Status UnknownEnum(absl::string_view field, int value) {
  return WithMetadata(InvalidField(field, "ENUM_UNKNOWN", "expected a known value, got ", value),
                      {{"value", absl::StrCat(value)}});
}

absl::Status ParseReduction(const v1::Criterion& wire, Criterion* criterion) {
  switch (wire.reduction()) {
    case v1::REDUCTION_UNSPECIFIED:
    case v1::REDUCTION_MEAN:
      criterion->reduction = Reduction::kMean;
      return absl::OkStatus();
    case v1::REDUCTION_SUM:
      criterion->reduction = Reduction::kSum;
      return absl::OkStatus();
    case v1::REDUCTION_NONE:
      criterion->reduction = Reduction::kNone;
      return absl::OkStatus();
    default:
      return UnknownEnum("criterion.reduction", wire.reduction());
  }
}

v1::Reduction ToWire(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return v1::REDUCTION_SUM;
    case Reduction::kNone:
      return v1::REDUCTION_NONE;
    default:
      return v1::REDUCTION_MEAN;
  }
}

}  // namespace

absl::Status ParseCriterion(const v1::Criterion& wire, Criterion* criterion) {
  LOSSD_RETURN_IF_ERROR(VisitKind(wire, [criterion](const auto& message, auto kind) {
    if (message.has_ignore_index()) kind.ignore_index = message.ignore_index();
    if (message.has_class_axis()) kind.class_axis = message.class_axis();
    ParseOwn(message, &kind);
    criterion->kind = kind;
  }));
  LOSSD_RETURN_IF_ERROR(ParseReduction(wire, criterion));
  if (!v1::EmptyMean_IsValid(wire.empty_mean())) {
    return UnknownEnum("criterion.empty_mean", wire.empty_mean());
  }
  if (wire.empty_mean() == v1::EMPTY_MEAN_ZERO) criterion->empty_mean = EmptyMean::kZero;
  if (wire.has_normalizer()) criterion->normalizer = wire.normalizer();
  return absl::OkStatus();
}

void ToWire(const Criterion& criterion, v1::Criterion* wire) {
  wire->set_reduction(ToWire(criterion.reduction));
  wire->set_empty_mean(criterion.empty_mean == EmptyMean::kZero ? v1::EMPTY_MEAN_ZERO
                                                                : v1::EMPTY_MEAN_NAN);
  if (criterion.normalizer) wire->set_normalizer(*criterion.normalizer);
  std::visit(
      [wire](const auto& kind) {
        auto* const message = MessageOf(kind, wire);
        if (kind.ignore_index) message->set_ignore_index(*kind.ignore_index);
        if (kind.class_axis) message->set_class_axis(*kind.class_axis);
        FillOwn(kind, message);
      },
      criterion.kind);
}

const v1::Tensor* FindWeight(const v1::Criterion& wire) {
  const v1::Tensor* weight = nullptr;
  VisitKind(wire, [&weight](const auto& message, const auto& /*kind*/) {
    if (message.has_weight()) weight = &message.weight();
  }).IgnoreError();
  return weight;
}

size_t RawWeightBytes(const v1::Criterion& wire) {
  const v1::Tensor* const weight = FindWeight(wire);
  return weight == nullptr ? 0 : weight->raw().size();
}

v1::Tensor* MutableWeight(v1::Criterion* wire) {
  v1::Tensor* weight = nullptr;
  VisitKind(*wire, [&weight, wire](const auto& /*message*/, const auto& kind) {
    weight = MessageOf(kind, wire)->mutable_weight();
  }).IgnoreError();
  return weight;
}

}  // namespace lossd
