#include "core/sums/summary.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/labels/labels.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/half.h"
#include "core/problem/plan.h"
#include "core/sums/exact_sum.h"
#include "core/sums/scaled.h"

namespace lossd {
namespace {

uint64_t Digest(const std::vector<double>& weights) {
  if (weights.empty()) return 0;
  uint64_t hash = 0xcbf29ce484222325U;
  for (const double weight : weights) {
    const auto bits = std::bit_cast<uint64_t>(weight);
    for (unsigned shift = 0; shift < 64; shift += 8) {
      hash = (hash ^ ((bits >> shift) & 0xFFU)) * 0x100000001b3U;
    }
  }
  return hash == 0 ? 1 : hash;
}

void AddTimes(AnyExactSum* sum, double value, uint64_t times) {
  std::visit(
      [&](auto& exact) {
        using F = std::conditional_t<std::is_same_v<std::decay_t<decltype(exact)>, ExactSum<float>>,
                                     float, double>;
        exact.AddTimes(static_cast<F>(value), times);
      },
      *sum);
}

/// The quotient rounded to odd: exact, or with its last bit set, so that one more rounding, to
/// float32, is correct. The remainder from fma tells on which side the true quotient lies.
double QuotientToOdd(double numerator, double divisor) {
  const double quotient = numerator / divisor;
  if (!std::isfinite(quotient) || !std::isfinite(divisor) || quotient == 0.0) return quotient;
  const double remainder = std::fma(-quotient, divisor, numerator);
  if (remainder == 0.0) return quotient;
  auto bits = std::bit_cast<uint64_t>(quotient);
  const bool true_value_is_greater = (remainder > 0) == (divisor > 0);
  const bool magnitude_was_rounded_up = true_value_is_greater != (quotient > 0);
  if (magnitude_was_rounded_up) --bits;
  return std::bit_cast<double>(bits | 1U);
}

/// As DivideRounded, but the operands may be beyond double's range, as sums of large float64
/// numbers can be.
double DivideScaled(DType loss_dtype, const Scaled& numerator, const Scaled& divisor) {
  const auto fits = [](const Scaled& number) {
    return std::isfinite(number.ToDouble()) || !std::isfinite(number.value);
  };
  if (fits(numerator) && fits(divisor)) {
    return DivideRounded(loss_dtype, numerator.ToDouble(), divisor.ToDouble());
  }
  const double quotient = (numerator / divisor).ToDouble();
  if (std::abs(quotient) >= std::numeric_limits<double>::min()) return quotient;
  // Rounding to odd first, because a subnormal quotient is rounded again.
  const double odd = QuotientToOdd(numerator.value, divisor.value);
  return Scaled::Of(odd, numerator.exponent - divisor.exponent).ToDouble() + 0.0;
}

}  // namespace

AnyExactSum MakeExactSum(DType loss_dtype) {
  if (loss_dtype == DType::kFloat64) return ExactSum<double>();
  return ExactSum<float>();
}

void Merge(const AnyExactSum& from, AnyExactSum* into) {
  std::visit([&](auto& sum) { sum.Merge(std::get<std::decay_t<decltype(sum)>>(from)); }, *into);
}

double ToDouble(const AnyExactSum& sum) {
  return std::visit([](const auto& exact) { return exact.ToDouble(); }, sum);
}

Scaled ToScaled(const AnyExactSum& sum) {
  return std::visit([](const auto& exact) { return exact.ToScaled(); }, sum);
}

ExactSumValue ToValue(const AnyExactSum& sum) {
  return std::visit([](const auto& exact) { return exact.ToValue(); }, sum);
}

absl::StatusOr<AnyExactSum> AnyExactSumFromValue(DType loss_dtype, const ExactSumValue& value) {
  if (loss_dtype == DType::kFloat64) {
    auto sum = ExactSum<double>::FromValue(value);
    if (!sum.ok()) return sum.status();
    return AnyExactSum(*sum);
  }
  auto sum = ExactSum<float>::FromValue(value);
  if (!sum.ok()) return sum.status();
  return AnyExactSum(*sum);
}

void RowTotals::Merge(const RowTotals& other) {
  lossd::Merge(other.loss, &loss);
  correct += other.correct;
  correct_top_k += other.correct_top_k;
}

AnyExactSum Normalizer(const Plan& plan, const Labels* labels) {
  AnyExactSum sum = MakeExactSum(plan.loss_dtype());
  if (labels == nullptr) {
    AddTimes(&sum, 1.0, static_cast<uint64_t>(plan.positions()));
  } else if (plan.weight().empty()) {
    AddTimes(&sum, 1.0, static_cast<uint64_t>(plan.positions()) - labels->ignored());
  } else {
    for (size_t c = 0; c < plan.weight().size(); ++c) {
      const uint64_t count = labels->class_counts()[c];
      if (count > 0) AddTimes(&sum, plan.weight()[c], count);
    }
  }
  return sum;
}

Scaled Divisor(const Criterion& criterion, const AnyExactSum& natural) {
  return criterion.normalizer ? Scaled::Of(*criterion.normalizer) : ToScaled(natural);
}

double DivideRounded(DType loss_dtype, double numerator, double divisor) {
  if (loss_dtype == DType::kFloat64) return numerator / divisor + 0.0;
  return static_cast<double>(static_cast<float>(QuotientToOdd(numerator, divisor)) + 0.0F);
}

double Scale(const Plan& plan, double grad_output, const AnyExactSum& natural) {
  if (plan.criterion().reduction != Reduction::kMean) return grad_output;
  return DivideScaled(plan.loss_dtype(), Scaled::Of(grad_output),
                      Divisor(plan.criterion(), natural));
}

Summary Summarize(const Plan& plan, const Labels* labels, const RowTotals& totals) {
  Summary summary;
  summary.criterion = plan.criterion();
  summary.criterion.class_options().class_axis.reset();
  summary.criterion.class_options().ignore_index = plan.ignore_index();
  summary.input_dtype = plan.input().dtype;
  summary.target_kind = plan.target_kind();
  summary.classes = plan.classes();
  summary.weight_digest = Digest(plan.weight());
  summary.top_k = plan.outputs().top_k;
  summary.loss_sum = totals.loss;
  summary.normalizer = Normalizer(plan, labels);
  summary.positions = static_cast<uint64_t>(plan.positions());
  summary.ignored = labels == nullptr ? 0 : labels->ignored();
  summary.correct = totals.correct;
  summary.correct_top_k = totals.correct_top_k;
  return summary;
}

double ReducedLoss(const Summary& summary) {
  if (summary.criterion.reduction == Reduction::kSum) {
    return std::visit([](const auto& sum) { return static_cast<double>(sum.ToNearest()); },
                      summary.loss_sum);
  }
  const bool none_counts = summary.positions == summary.ignored;
  if (none_counts && !summary.criterion.normalizer) {
    return summary.criterion.empty_mean == EmptyMean::kZero
               ? 0.0
               : std::numeric_limits<double>::quiet_NaN();
  }
  const double loss = DivideScaled(LossDType(summary.input_dtype), ToScaled(summary.loss_sum),
                                   Divisor(summary.criterion, summary.normalizer));
  return std::isnan(loss) ? std::numeric_limits<double>::quiet_NaN() : loss;
}

namespace {

/// The name of the first difference between two summaries; empty if they can be merged.
absl::string_view Difference(const Summary& a, const Summary& b) {
  if (a.input_dtype != b.input_dtype) return "input dtype";
  if (a.classes != b.classes) return "number of classes";
  if (a.target_kind != b.target_kind) return "kind of target";
  if (a.weight_digest != b.weight_digest) return "class weights";
  if (a.top_k != b.top_k) return "top_k";
  if (a.criterion.normalizer != b.criterion.normalizer) return "supplied normalizer";
  if (!(a.criterion == b.criterion)) return "options";
  return "";
}

bool MergeSum(const AnyExactSum& from, AnyExactSum* into) {
  return std::visit(
      [&](auto& sum) {
        return sum.MergeWithoutOverflow(std::get<std::decay_t<decltype(sum)>>(from));
      },
      *into);
}

bool AddCount(uint64_t value, uint64_t* sum) {
  *sum += value;
  return *sum >= value;
}

}  // namespace

absl::Status SummaryFold::Add(const Summary& next) {
  const int64_t index = count_++;
  if (index == 0) {
    all_ = next;
    return absl::OkStatus();
  }
  const auto field = [index] { return absl::StrCat("summaries[", index, "]"); };
  if (const auto what = Difference(all_, next); !what.empty()) {
    return InvalidField(field(), "SUMMARY_MISMATCH", "expected the same ", what,
                        " as summaries[0]");
  }
  const bool fits =
      MergeSum(next.loss_sum, &all_.loss_sum) && MergeSum(next.normalizer, &all_.normalizer) &&
      AddCount(next.positions, &all_.positions) && AddCount(next.ignored, &all_.ignored) &&
      AddCount(next.correct, &all_.correct) && AddCount(next.correct_top_k, &all_.correct_top_k);
  if (!fits) {
    return InvalidField(field(), "SUMMARY_OVERFLOW", "expected sums that stay in range");
  }
  return absl::OkStatus();
}

absl::StatusOr<Summary> SummaryFold::Finish() const {
  if (count_ > 0) return all_;
  return InvalidField("summaries", "FIELD_MISSING", "expected at least one summary");
}

absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries) {
  SummaryFold fold;
  for (const Summary& summary : summaries) LOSSD_RETURN_IF_ERROR(fold.Add(summary));
  return fold.Finish();
}

}  // namespace lossd
