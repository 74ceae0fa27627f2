// One float64 row whose results need more than double's range on the way: masses with an infinite
// sum, products of a huge and a tiny factor, logits that are further apart than the largest double.
// The passes in double recognize such a row by results that are not finite. It is evaluated again
// here with numbers of unbounded exponents, some ten times as slowly.
#ifndef LOSSD_CORE_ROWS_GREAT_ROW_H_
#define LOSSD_CORE_ROWS_GREAT_ROW_H_

#include <cstddef>
#include <cstdint>

#include "core/passes/row_kernels.h"
#include "core/sums/scaled.h"

namespace lossd {

class GreatRow {
 public:
  /// `exponentials` are those of analyze_wide. REQUIRES: stats.valid, and all arguments outlive
  /// this object.
  GreatRow(const WideRowStats& stats, const double* exponentials, size_t classes)
      : stats_(stats), exponentials_(exponentials), classes_(classes) {}

  /// factor (-l) of a logit of the row.
  static double TimesNegativeLog(const WideRowStats& stats, double factor, double logit);

  /// out[c] = RN(weight scale (p_c - [c = label])).
  void HardGradient(size_t label, double weight, double scale, std::byte* out) const;

  // For masses on many classes. `label`, if not kNoLabel, has a mass of its own:
  // `masses.unsmoothed` times its weight.
  static constexpr int64_t kNoLabel = -1;
  double Loss(const std::byte* x, const MassSource& masses, int64_t label) const;
  void InputGradient(double scale, const MassSource& masses, int64_t label, std::byte* out) const;
  /// As target_gradient of RowKernels.
  void TargetGradient(const std::byte* x, double scale, const MassSource& masses,
                      std::byte* out) const;
  /// As weight_terms of RowKernels, with the label's share added.
  void WeightTerms(const std::byte* x, double scale, const MassSource& masses, int64_t label,
                   double* terms) const;

 private:
  /// The sum of exp(x_k - max) over all classes but the maximum's (Tail), and over all (Norm).
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
