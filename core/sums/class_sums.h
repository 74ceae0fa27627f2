// Exact sums by class, for the gradient of the class weights.
#ifndef LOSSD_CORE_SUMS_CLASS_SUMS_H_
#define LOSSD_CORE_SUMS_CLASS_SUMS_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <variant>
#include <vector>

#include "core/labels/labels.h"
#include "core/problem/plan.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"

namespace lossd {

/// One exact sum for each class. A worker holds the lock for a whole row.
class ClassSums {
 public:
  explicit ClassSums(const Plan& plan);

  /// Bytes that the sums of `plan` take.
  static uint64_t StoredBytes(const Plan& plan);

  /// Adds terms[c] to class c for every c; zeros add nothing. Thread-safe.
  void AddRow(const double* terms);
  /// Adds one term to one class. Thread-safe.
  void AddOne(int64_t c, double term);

  /// Writes the gradient in the weight's type. Under `mean` the divisor may depend on the weights,
  /// which adds the term -(g L / D^2) x count of class c (docs/semantics.md). D and L are the
  /// summary's normalizer and loss sum.
  void Write(const Plan& plan, const Labels* labels, double grad_output, const Summary& summary,
             std::byte* to) const;

 private:
  std::mutex mutex_;
  std::variant<std::vector<ExactSum<float>>, std::vector<ExactSum<double>>> sums_;
};

}  // namespace lossd

#endif  // LOSSD_CORE_SUMS_CLASS_SUMS_H_
