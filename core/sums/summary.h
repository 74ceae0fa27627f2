// What a shard of a problem adds up to, exactly mergeable with other shards.
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

/// An exact sum of float32 or float64 values, as the loss type asks.
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

/// All that is needed to reduce the loss, alone or together with other shards.
struct Summary {
  Criterion criterion;  ///< Without class_axis, which says where data lie and not what they mean.
  DType input_dtype = DType::kFloat32;
  TargetKind target_kind = TargetKind::kClassIndex;
  int64_t classes = 0;
  uint64_t weight_digest = 0;  ///< FNV-1a of the weights as doubles; 0 without weights.
  uint32_t top_k = 0;
  AnyExactSum loss_sum;
  AnyExactSum normalizer;  ///< D of docs/semantics.md, whatever the reduction.
  uint64_t positions = 0;
  uint64_t ignored = 0;
  uint64_t correct = 0;
  uint64_t correct_top_k = 0;
};

/// The divisor of `mean` as its exact sum: sum of weights of counted labels, or the position count.
/// REQUIRES: `labels` is full where the plan has class indices; null otherwise.
AnyExactSum Normalizer(const Plan& plan, const Labels* labels);

/// RN64 of the divisor in force, the supplied normalizer or `natural`; also where that is beyond
/// double's range.
Scaled Divisor(const Criterion& criterion, const AnyExactSum& natural);

/// RN(numerator / divisor), rounded once to the loss type; widened to double.
double DivideRounded(DType loss_dtype, double numerator, double divisor);

/// What every gradient of a position is multiplied by: g, or RN(g / divisor in force) for mean.
double Scale(const Plan& plan, double grad_output, const AnyExactSum& natural);

Summary Summarize(const Plan& plan, const Labels* labels, const RowTotals& totals);

/// The loss that reduction sum or mean gives, a value of the loss type widened to double.
/// REQUIRES: the reduction is not none.
double ReducedLoss(const Summary& summary);

/// Merges summaries of shards one by one, however many there are.
class SummaryFold {
 public:
  /// INVALID_ARGUMENT where `next` differs from the first one in criterion, options, dtype, weights
  /// or normalizer, or where a sum leaves its range; the field is summaries[i]. After an error the
  /// fold is void.
  absl::Status Add(const Summary& next);
  /// The merged summary. INVALID_ARGUMENT where none was added.
  [[nodiscard]] absl::StatusOr<Summary> Finish() const;
  /// How many were added.
  [[nodiscard]] int64_t count() const { return count_; }

 private:
  Summary all_;
  int64_t count_ = 0;
};

/// Merges all of them; errors are SummaryFold's.
absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries);

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_SUMMARY_H_
