// One float64 row in whose results double's range does not suffice for what they are made of:
// masses whose sum is infinite, products of which one factor is huge and the other tiny, logits
// that lie further apart than the greatest double. The passes in double find such a row by what
// they give, which is then not finite; here it is evaluated again by numbers with exponents of
// their own, some ten times as slowly.
#ifndef LOSSD_CORE_ROWS_GREAT_ROW_H_
#define LOSSD_CORE_ROWS_GREAT_ROW_H_

#include <cstddef>
#include <cstdint>

#include "core/passes/row_kernels.h"
#include "core/sums/scaled.h"

namespace lossd {

class GreatRow {
 public:
  /// `exponentials` are those of analyze_wide, stats.valid being true. All must outlive this.
  GreatRow(const WideRowStats& stats, const double* exponentials, size_t classes)
      : stats_(stats), exponentials_(exponentials), classes_(classes) {}

  /// factor (-l) of a logit of the row.
  static double TimesNegativeLog(const WideRowStats& stats, double factor, double logit);

  /// out[c] = RN(weight scale (p_c - [c = label])).
  void HardGradient(size_t label, double weight, double scale, std::byte* out) const;

  // Where masses lie on many classes; `label` has a mass of `masses.unsmoothed` times its weight of
  // its own, if it is not kNoLabel.
  static constexpr int64_t kNoLabel = -1;
  double Loss(const std::byte* x, const MassSource& masses, int64_t label) const;
  void InputGradient(double scale, const MassSource& masses, int64_t label, std::byte* out) const;
  /// As target_gradient of RowKernels.
  void TargetGradient(const std::byte* x, double scale, const MassSource& masses,
                      std::byte* out) const;
  /// As weight_terms of RowKernels, and the label's share.
  void WeightTerms(const std::byte* x, double scale, const MassSource& masses, int64_t label,
                   double* terms) const;

 private:
  /// Sums of exp(x_k - max) over all classes but the maximum's, and over all.
  [[nodiscard]] Scaled Tail() const;
  [[nodiscard]] double Norm() const;
  /// exp(x_c - max)
  [[nodiscard]] Scaled Exponential(size_t c) const;

  const WideRowStats& stats_;
  const double* exponentials_;
  size_t classes_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_GREAT_ROW_H_
