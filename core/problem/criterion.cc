#include "core/problem/criterion.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/error.h"

namespace lossd {
namespace {

template <size_t... kIndices>
std::vector<CriterionKind> KindsAt(std::index_sequence<kIndices...> /*indices*/) {
  return {std::variant_alternative_t<kIndices, CriterionKind>()...};
}

/// Every kind with default options.
std::vector<CriterionKind> AllKinds() {
  return KindsAt(std::make_index_sequence<std::variant_size_v<CriterionKind>>());
}

absl::string_view NameOf(const CriterionKind& kind) {
  return std::visit([](const auto& own) { return own.kName; }, kind);
}

}  // namespace

const ClassOptions& Criterion::class_options() const {
  return std::visit([](const auto& own) -> const ClassOptions& { return own; }, kind);
}

ClassOptions& Criterion::class_options() {
  return std::visit([](auto& own) -> ClassOptions& { return own; }, kind);
}

double Criterion::label_smoothing() const {
  return std::visit(
      [](const auto& own) {
        if constexpr (requires { own.label_smoothing; }) return own.label_smoothing;
        return 0.0;
      },
      kind);
}

absl::string_view Criterion::kind_name() const { return NameOf(kind); }

std::string Criterion::PathOf(absl::string_view field) const {
  return absl::StrCat("criterion.", kind_name(), ".", field);
}

std::optional<CriterionKind> KindNamed(absl::string_view name) {
  for (const CriterionKind& kind : AllKinds()) {
    if (NameOf(kind) == name) return kind;
  }
  return std::nullopt;
}

std::vector<std::string> KindNames() {
  std::vector<std::string> names;
  for (const CriterionKind& kind : AllKinds()) names.emplace_back(NameOf(kind));
  return names;
}

absl::Status CheckCriterion(const Criterion& criterion, TargetKind target) {
  LOSSD_RETURN_IF_ERROR(
      std::visit([target](const auto& kind) { return CheckKind(kind, target); }, criterion.kind));
  if (!criterion.normalizer) return absl::OkStatus();
  constexpr absl::string_view kNormalizer = "criterion.normalizer";
  if (criterion.reduction != Reduction::kMean) {
    return InvalidField(kNormalizer, "NORMALIZER_WITHOUT_MEAN",
                        "expected none unless the reduction is mean");
  }
  if (!std::isfinite(*criterion.normalizer) || *criterion.normalizer == 0.0) {
    return InvalidField(kNormalizer, "NORMALIZER_RANGE",
                        "expected a finite number other than 0, got ", *criterion.normalizer);
  }
  return absl::OkStatus();
}

}  // namespace lossd
