// The sums and counts of a shard of a problem, which merge exactly with those of other shards.
#ifndef LOSSD_CORE_SUMS_SUMMARY_H_
#define LOSSD_CORE_SUMS_SUMMARY_H_

#include <cstdint>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/labels/labels.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/sums/exact_sum.h"
#include "core/sums/scaled.h"

namespace lossd {

/// An exact sum of values of the loss type, float32 or float64.
using AnyExactSum = std::variant<ExactSum<float>, ExactSum<double>>;

AnyExactSum MakeExactSum(DType loss_dtype);
void Merge(const AnyExactSum& from, AnyExactSum* into);
double ToDouble(const AnyExactSum& sum);
Scaled ToScaled(const AnyExactSum& sum);
ExactSumValue ToValue(const AnyExactSum& sum);
absl::StatusOr<AnyExactSum> AnyExactSumFromValue(DType loss_dtype, const ExactSumValue& value);

/// Sums and counts of evaluated positions. Merging is exact, in any order.
struct RowTotals {
  explicit RowTotals(DType loss_dtype) : loss(MakeExactSum(loss_dtype)) {}
  void Merge(const RowTotals& other);

  AnyExactSum loss;
  uint64_t correct = 0;
  uint64_t correct_top_k = 0;
};

/// Everything needed to reduce the loss, alone or together with other shards.
struct Summary {
  Criterion criterion;  ///< Without class_axis, which tells the layout of data, not their meaning.
  DType input_dtype = DType::kFloat32;
  TargetKind target_kind = TargetKind::kClassIndex;
  int64_t classes = 0;
  uint64_t weight_digest = 0;  ///< FNV-1a of the weights as doubles; 0 without weights.
  uint32_t top_k = 0;
  AnyExactSum loss_sum;
  AnyExactSum normalizer;  ///< D of docs/semantics.md, for every reduction.
  uint64_t positions = 0;
  uint64_t ignored = 0;
  uint64_t correct = 0;
  uint64_t correct_top_k = 0;
};

/// The divisor of `mean` as its exact sum: the sum of weights of counted labels, or the number of
/// positions. REQUIRES: `labels` is full if the plan has class indices, else null.
AnyExactSum Normalizer(const Plan& plan, const Labels* labels);

/// RN64 of the divisor in force, the supplied normalizer or else `natural`, even beyond double's
/// range.
Scaled Divisor(const Criterion& criterion, const AnyExactSum& natural);

/// RN(numerator / divisor), rounded once to the loss type and widened to double.
double DivideRounded(DType loss_dtype, double numerator, double divisor);

/// The factor of a position's gradients: g, or RN(g / divisor in force) for mean.
double Scale(const Plan& plan, double grad_output, const AnyExactSum& natural);

Summary Summarize(const Plan& plan, const Labels* labels, const RowTotals& totals);

/// The loss for the reduction sum or mean, in the loss type and widened to double. REQUIRES: the
/// reduction is not none.
double ReducedLoss(const Summary& summary);

/// Merges any number of summaries of shards, one by one.
class SummaryFold {
 public:
  /// INVALID_ARGUMENT if `next` differs from the first summary in criterion, options, dtype,
  /// weights or normalizer, or if a sum leaves its range; the field is summaries[i]. After an error
  /// the fold is void.
  absl::Status Add(const Summary& next);
  /// The merged summary. INVALID_ARGUMENT if none was added.
  [[nodiscard]] absl::StatusOr<Summary> Finish() const;
  /// The number of summaries added.
  [[nodiscard]] int64_t count() const { return count_; }

 private:
  Summary all_;
  int64_t count_ = 0;
};

/// Merges all `summaries`; errors are those of SummaryFold.
absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries);

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_SUMMARY_H_
