#include "core/sums/check_summary.h"

#include <cstdint>
#include <type_traits>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/criterion.h"
#include "core/problem/error.h"
#include "core/problem/plan.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"

namespace lossd {
namespace {

template <typename... Pieces>
[[gnu::cold]] absl::Status Inconsistent(absl::string_view field, const Pieces&... what) {
  return InvalidField(field, "SUMMARY_INCONSISTENT", what...);
}

absl::Status CheckAtMost(uint64_t count, uint64_t most, absl::string_view field,
                         absl::string_view why) {
  if (count <= most) return absl::OkStatus();
  return WithMetadata(Inconsistent(field, "expected at most ", most, ", ", why, ", got ", count),
                      {{"limit", "positions"},
                       {"limit_value", absl::StrCat(most)},
                       {"value", absl::StrCat(count)}});
}

/// Each of `counted` positions added one value to the sum, so no more than that can be NaN or
/// infinite.
absl::Status CheckNonFinite(const AnyExactSum& sum, uint64_t counted, absl::string_view field) {
  uint64_t left = counted;
  const bool fits = std::visit(
      [&left](const auto& exact) {
        for (const uint64_t count : {exact.nan_count(), exact.positive_infinity_count(),
                                     exact.negative_infinity_count()}) {
          if (count > left) return false;
          left -= count;
        }
        return true;
      },
      sum);
  if (fits) return absl::OkStatus();
  return Inconsistent(field, "expected no more NaN and infinities than the ", counted,
                      " positions that count");
}

/// Whether `sum` is that of `count` ones.
bool IsCount(const AnyExactSum& sum, uint64_t count) {
  return std::visit(
      [count](const auto& exact) {
        std::decay_t<decltype(exact)> expected;
        expected.AddTimes(1, count);
        return exact == expected;
      },
      sum);
}

}  // namespace

absl::Status CheckSummary(const Summary& summary) {
  LOSSD_RETURN_IF_ERROR(CheckCriterion(summary.criterion, summary.target_kind));
  if (summary.classes < 0) {
    return InvalidField("classes", "CLASSES_EMPTY", "expected at least 0, got ", summary.classes);
  }
  const bool probabilities = summary.target_kind == TargetKind::kProbabilities;
  if (probabilities && summary.ignored != 0) {
    return Inconsistent("ignored", "expected 0 with probabilities, got ", summary.ignored);
  }
  LOSSD_RETURN_IF_ERROR(
      CheckAtMost(summary.ignored, summary.positions, "ignored", "all positions"));
  const uint64_t counted = summary.positions - summary.ignored;
  constexpr absl::string_view kCounted = "the positions that are not ignored";
  LOSSD_RETURN_IF_ERROR(CheckAtMost(summary.correct, counted, "correct", kCounted));
  LOSSD_RETURN_IF_ERROR(CheckAtMost(summary.correct_top_k, counted, "correct_top_k", kCounted));
  if (summary.top_k == 0 && summary.correct_top_k != 0) {
    return Inconsistent("correct_top_k", "expected 0 where top_k is 0, got ",
                        summary.correct_top_k);
  }
  if (summary.top_k > 0 && summary.correct_top_k < summary.correct) {
    return Inconsistent("correct_top_k", "expected at least correct, ", summary.correct, ", got ",
                        summary.correct_top_k);
  }
  LOSSD_RETURN_IF_ERROR(CheckNonFinite(summary.loss_sum, counted, "loss_sum"));
  if (!probabilities && summary.weight_digest != 0) {
    return CheckNonFinite(summary.normalizer, counted, "normalizer");
  }
  if (IsCount(summary.normalizer, counted)) return absl::OkStatus();
  return Inconsistent("normalizer", "expected the number of positions that count, ", counted);
}

}  // namespace lossd
