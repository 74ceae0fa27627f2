// The loss in its plainest form, for any number type, to test kernels against.
//
// The loss is written once, as a scalar function of T. T = double gives values. T =
// std::complex<double> gives derivatives by the complex step: Im f(x + ih) / h has no subtraction
// and so no cancellation (Squire and Trapp, SIAM Review 40, 1998). A wide T gives the truth to
// measure rounding errors by. Not for production: neither speed nor bits are promised.
#ifndef LOSSD_TESTS_SUPPORT_REFERENCE_H_
#define LOSSD_TESTS_SUPPORT_REFERENCE_H_

#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/problem/criterion.h"

namespace lossd {

/// A problem with the class axis last and all values widened to T. Exactly one of labels (with -1
/// for ignored positions) and probabilities is given.
template <typename T>
struct ReferenceProblem {
  size_t classes = 0;
  std::vector<T> input;             ///< [positions, classes]
  std::vector<int64_t> labels;      ///< [positions]
  std::vector<T> probabilities;     ///< [positions, classes]
  std::vector<T> weight;            ///< [classes]; empty: all 1.
  std::vector<double> grad_output;  ///< [positions] or [1]; empty: all 1.
  Reduction reduction = Reduction::kMean;
  double label_smoothing = 0;
};

inline double RealPart(double value) { return value; }
inline double RealPart(const std::complex<double>& value) { return value.real(); }

/// The loss of position n, as in the table of docs/semantics.md.
template <typename T>
T ReferenceLoss(const ReferenceProblem<T>& problem, size_t n) {
  const size_t classes = problem.classes;
  const T* x = &problem.input[n * classes];
  const bool indices = problem.probabilities.empty();
  if (indices && problem.labels[n] < 0) return T(0);
  size_t top = 0;
  for (size_t c = 1; c < classes; ++c) {
    if (RealPart(x[c]) > RealPart(x[top])) top = c;
  }
  T sum(0);
  for (size_t c = 0; c < classes; ++c) sum += std::exp(x[c] - x[top]);
  const T log_sum = std::log(sum);
  const double smooth = problem.label_smoothing / static_cast<double>(classes);
  T loss(0);
  for (size_t c = 0; c < classes; ++c) {
    const T weight = problem.weight.empty() ? T(1) : problem.weight[c];
    T share(smooth);
    if (indices) {
      if (static_cast<size_t>(problem.labels[n]) == c) share += T(1 - problem.label_smoothing);
    } else {
      share += T(1 - problem.label_smoothing) * problem.probabilities[n * classes + c];
    }
    if (share != T(0) && weight != T(0)) loss -= weight * share * ((x[c] - x[top]) - log_sum);
  }
  return loss;
}

/// The function whose gradients are taken: sum_n g_n loss_n, or g times the reduced loss.
template <typename T>
T ReferenceObjective(const ReferenceProblem<T>& problem) {
  const size_t positions = problem.input.size() / problem.classes;
  const bool none = problem.reduction == Reduction::kNone;
  T total(0);
  T divisor(0);
  for (size_t n = 0; n < positions; ++n) {
    const double g = none && !problem.grad_output.empty() ? problem.grad_output[n] : 1.0;
    total += g * ReferenceLoss(problem, n);
    if (!problem.probabilities.empty()) {
      divisor += T(1);
    } else if (problem.labels[n] >= 0) {
      divisor +=
          problem.weight.empty() ? T(1) : problem.weight[static_cast<size_t>(problem.labels[n])];
    }
  }
  if (problem.reduction == Reduction::kMean) total /= divisor;
  if (!none && !problem.grad_output.empty()) total *= problem.grad_output[0];
  return total;
}

}  // namespace lossd

#endif  // LOSSD_TESTS_SUPPORT_REFERENCE_H_
