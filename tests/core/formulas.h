// Computes the formulas of docs/semantics.md in long double, position by position, and compares a
// problem's results with them. No value here leaves the range of long double.
#ifndef LOSSD_TESTS_CORE_FORMULAS_H_
#define LOSSD_TESTS_CORE_FORMULAS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "tests/support/problem.h"

namespace lossd::testing {

using Real = long double;

/// The results of the formulas for one position, and the magnitudes that scale tolerances.
struct Expected {
  bool valid = true;  ///< If false, loss and gradients are NaN.
  bool ignored = false;
  Real loss = 0;
  Real magnitude = 0;                  ///< Sum of |m_c l_c|, from each part of m_c by itself.
  Real mass = 0;                       ///< Sum of |m_c|, likewise.
  std::vector<Real> gradient;          ///< For a scale of 1.
  std::vector<Real> target_gradient;   ///< For a scale of 1.
  std::vector<Real> weight_gradient;   ///< For a scale of 1: u_c (-l_c).
  std::vector<Real> weight_magnitude;  ///< |u_c l_c|, from each part of u_c by itself.
  int64_t label = -1;                  ///< The class index, if there is one.
};

/// Evaluates the formulas for the positions of a problem.
class Reference {
 public:
  explicit Reference(const OwnedProblem& problem)
      : plan_(problem.plan()),
        input_(Values(problem.input.spec.dtype, problem.input.bytes)),
        index_(plan_->target_kind() == TargetKind::kClassIndex) {
    target_ = index_ ? Labels(problem) : Values(problem.target.spec.dtype, problem.target.bytes);
  }

  [[nodiscard]] const Plan& plan() const { return *plan_; }
  [[nodiscard]] bool index() const { return index_; }
  /// The index of the element (position, class).
  [[nodiscard]] size_t At(int64_t position, int64_t c) const {
    const int64_t inner = plan_->inner();
    return static_cast<size_t>((position / inner * plan_->classes() + c) * inner +
                               position % inner);
  }

  [[nodiscard]] Expected Evaluate(int64_t n) const {
    Expected result;
    const auto classes = static_cast<size_t>(plan_->classes());
    const Real e = plan_->criterion().cross_entropy().label_smoothing;
    std::vector<Real> x(classes);
    for (size_t c = 0; c < classes; ++c) x[c] = input_[At(n, static_cast<int64_t>(c))];
    const double label = index_ ? target_[static_cast<size_t>(n)] : 0;
    result.ignored = index_ && label == static_cast<double>(plan_->ignore_index());
    const size_t top = static_cast<size_t>(std::max_element(x.begin(), x.end()) - x.begin());
    Real tail = 0;
    for (size_t c = 0; c < classes; ++c) {
      if (c != top) tail += std::exp(x[c] - x[top]);
      if (std::isnan(x[c])) result.valid = false;
    }
    if (!std::isfinite(x[top])) result.valid = false;
    result.gradient.resize(classes);
    result.target_gradient.resize(classes);
    result.weight_gradient.resize(classes);
    result.weight_magnitude.resize(classes);
    if (index_) result.label = static_cast<int64_t>(label);
    if (result.ignored || !result.valid) return result;
    std::vector<Real> mass(classes);
    Real total = 0;
    for (size_t c = 0; c < classes; ++c) {
      const Real w = plan_->WeightOf(static_cast<int64_t>(c));
      const Real even = e / static_cast<Real>(classes);
      Real share = 0;
      if (index_) {
        share = static_cast<double>(c) == label ? 1 - e : 0;
      } else {
        share = (1 - e) * target_[At(n, static_cast<int64_t>(c))];
      }
      mass[c] = w * (share + even);
      total += mass[c];
      // A probability below 0 may cancel with the even share. Errors are relative to the magnitudes
      // of both.
      const Real size = std::abs(w) * (std::abs(share) + even);
      result.mass += size;
      const Real negative_log = (x[top] - x[c]) + std::log1p(tail);
      if (mass[c] != 0) result.loss += mass[c] * negative_log;
      if (mass[c] != 0) result.magnitude += size * negative_log;
      if (share + even != 0) result.weight_gradient[c] = (share + even) * negative_log;
      if (share + even != 0) {
        result.weight_magnitude[c] = (std::abs(share) + even) * negative_log;
      }
      const Real factor = (1 - e) * w;
      result.target_gradient[c] = factor == 0 ? 0 : factor * negative_log;
    }
    for (size_t c = 0; c < classes; ++c) {
      const Real p = std::exp(x[c] - x[top]) / (1 + tail);
      // If this class alone has mass, sum the other probabilities: then nothing cancels.
      const bool own = index_ && e == 0 && static_cast<double>(c) == label;
      const Real others = c == top ? tail : 1 + tail - std::exp(x[c] - x[top]);
      result.gradient[c] = own ? -total * others / (1 + tail) : total * p - mass[c];
    }
    return result;
  }

 private:
  static std::vector<double> Labels(const OwnedProblem& problem) {
    std::vector<double> labels;
    const size_t size = SizeOf(problem.target.spec.dtype);
    for (size_t i = 0; i < problem.target.bytes.size(); i += size) {
      int64_t value = 0;
      std::memcpy(&value, &problem.target.bytes[i], size);
      const auto unused = static_cast<unsigned>(64 - 8 * size);
      labels.push_back(static_cast<double>(
          static_cast<int64_t>(static_cast<uint64_t>(value) << unused) >> unused));
    }
    return labels;
  }

  std::shared_ptr<const Plan> plan_;
  std::vector<double> input_;
  std::vector<double> target_;
  bool index_;
};

/// The largest finite value of `dtype`.
Real Greatest(DType dtype);

/// Compares `results` with the formulas. Returns the first difference; empty if there is none.
std::string CheckFormulas(const OwnedProblem& problem, const Results& results);

/// The largest ratio of an error to its tolerance so far.
Real GreatestShare();

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_CORE_FORMULAS_H_
