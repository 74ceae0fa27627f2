#include "tests/core/formulas.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/sums/scaled.h"
#include "core/sums/summary.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

/// Half an ulp of `dtype` at `value`.
Real HalfUlp(DType dtype, Real value) {
  int digits = 24;
  int lowest = -149;
  if (dtype == DType::kFloat64) digits = 53, lowest = -1074;
  if (dtype == DType::kFloat16) digits = 11, lowest = -24;
  if (dtype == DType::kBFloat16) digits = 8, lowest = -133;
  if (!std::isfinite(value)) return std::numeric_limits<Real>::infinity();
  const int exponent = value == 0 ? lowest : std::ilogb(value) - digits + 1;
  return std::ldexp(Real{0.5}, std::max(exponent, lowest));
}

/// See GreatestShare.
Real greatest_share = 0;

/// Whether `actual`, a value of `dtype`, is `expected` within the tolerance. An infinite `actual`
/// is right if `expected` may be beyond the type's range.
bool Near(DType dtype, Real actual, Real expected, Real tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected)) return actual == expected;
  if (std::isinf(actual) && (actual > 0) == (expected > 0)) {
    return std::abs(expected) + tolerance > Greatest(dtype);
  }
  const Real error = std::abs(actual - expected);
  if (error == 0) return true;
  greatest_share = std::max(greatest_share, error / tolerance);
  return error <= tolerance;
}

Real ToReal(const Scaled& value) {
  return std::ldexp(static_cast<Real>(value.value), static_cast<int>(value.exponent));
}

/// The share of a class's weight in the loss: the sum of s_n u_c (-l_c), and of its magnitude.
struct WeightTerm {
  Real sum = 0;
  Real magnitude = 0;
  Real counted = 0;        ///< Positions with this label.
  bool overflows = false;  ///< Whether a summand is out of range.
};

void AddWeightTerms(const Reference& reference, const Expected& expected, Real s,
                    std::vector<WeightTerm>* terms) {
  for (size_t c = 0; c < terms->size() && expected.valid; ++c) {
    WeightTerm& term = (*terms)[c];
    const Real value = s * expected.weight_gradient[c];
    term.sum += value;
    term.magnitude += std::abs(s) * expected.weight_magnitude[c];
    if (!(std::abs(value) <= Greatest(reference.plan().loss_dtype()))) term.overflows = true;
    if (static_cast<int64_t>(c) == expected.label) term.counted += 1;
  }
  for (WeightTerm& term : *terms) term.overflows = term.overflows || !expected.valid;
}

/// CheckFormulas for the weight gradient, whose last term is that of the divisor, which also
/// depends on the weight.
std::string CheckWeights(const OwnedProblem& problem, const Results& results,
                         const Reference& reference, double g,
                         const std::vector<WeightTerm>& terms) {
  const Plan& plan = reference.plan();
  if (!plan.outputs().grad_weight) return "";
  const DType type = plan.WeightDType();
  const std::vector<double> gradients = Values(type, results.grad_weight);
  const bool divides = plan.criterion().reduction == Reduction::kMean &&
                       !plan.criterion().normalizer && reference.index();
  const Real sum = ToReal(ToScaled(results.summary.loss_sum));
  const Real divisor = ToReal(ToScaled(results.summary.normalizer));
  if (divides && divisor == 0) return "";
  const bool wide = problem.input.spec.dtype == DType::kFloat64;
  for (size_t c = 0; c < terms.size(); ++c) {
    const Real by_divisor = divides ? g * (sum / divisor) / divisor * terms[c].counted : 0;
    if (terms[c].overflows || !std::isfinite(by_divisor)) continue;
    const Real expected = terms[c].sum - by_divisor;
    const Real size = terms[c].magnitude + std::abs(by_divisor);
    const Real slack = (wide ? 0x1p-49L : 0x1p-21L) * size + HalfUlp(type, expected) +
                       HalfUlp(plan.loss_dtype(), 0) * (2 * plan.positions() + 2);
    if (!Near(type, gradients[c], expected, slack)) {
      return "grad_weight, class " + std::to_string(c);
    }
  }
  return "";
}

}  // namespace

Real Greatest(DType dtype) {
  if (dtype == DType::kFloat64) return std::numeric_limits<double>::max();
  if (dtype == DType::kFloat16) return 65504;
  if (dtype == DType::kBFloat16) return 0x1.FEp127L;
  return std::numeric_limits<float>::max();
}

Real GreatestShare() { return greatest_share; }

std::string CheckFormulas(const OwnedProblem& problem, const Results& results) {
  const Reference reference(problem);
  const Plan& plan = reference.plan();
  const DType dtype = plan.input().dtype;
  const bool wide = dtype == DType::kFloat64;
  const bool none = plan.criterion().reduction == Reduction::kNone;
  const std::vector<double> losses = Values(plan.loss_dtype(), results.loss);
  const std::vector<double> gradients = Values(dtype, results.grad_input);
  const std::vector<double> target_gradients =
      Values(plan.target().dtype, reference.index() ? Bytes() : results.grad_target);
  std::vector<double> incoming(1, 1.0);
  if (problem.grad_output) {
    incoming = Values(problem.grad_output->spec.dtype, problem.grad_output->bytes);
  }
  const Real divisor = ToReal(Divisor(plan.criterion(), results.summary.normalizer));
  std::vector<WeightTerm> weights(static_cast<size_t>(plan.classes()));
  bool overflows = false;
  Real sum = 0;
  Real magnitude = 0;
  for (int64_t n = 0; n < plan.positions(); ++n) {
    const Expected expected = reference.Evaluate(n);
    const Real nan = std::numeric_limits<Real>::quiet_NaN();
    const std::string where = " at position " + std::to_string(n);
    const Real loss = expected.ignored ? 0 : expected.valid ? expected.loss : nan;
    sum += loss;
    magnitude += expected.magnitude;
    const Real ulps = wide ? 8 : 4;  // In half ulps.
    if (none && !Near(plan.loss_dtype(), losses[static_cast<size_t>(n)], loss,
                      ulps * HalfUlp(plan.loss_dtype(), expected.magnitude))) {
      return "loss" + where + ": " + std::to_string(losses[static_cast<size_t>(n)]) +
             ", expected " + std::to_string(static_cast<double>(loss));
    }
    const double g = none && problem.grad_output ? incoming[static_cast<size_t>(n)] : incoming[0];
    const Real s = expected.ignored ? 0 : Scale(plan, g, results.summary.normalizer);
    overflows = overflows || std::abs(loss) > Greatest(plan.loss_dtype());
    if (!expected.ignored && !std::isfinite(s) && divisor != 0) {
      overflows = true;
      continue;
    }
    if (!expected.ignored) AddWeightTerms(reference, expected, s, &weights);
    const bool hard = reference.index() && plan.criterion().cross_entropy().label_smoothing == 0;
    for (int64_t c = 0; c < plan.classes(); ++c) {
      const size_t at = reference.At(n, c);
      const auto i = static_cast<size_t>(c);
      const Real gradient = expected.ignored ? 0 : expected.valid ? s * expected.gradient[i] : nan;
      const DType arithmetic = IsHalf(dtype) ? DType::kFloat32 : dtype;
      Real tolerance = hard ? 8 * HalfUlp(arithmetic, gradient)
                            : (wide ? 4e-16L : 1e-7L) * std::abs(s) * expected.mass;
      tolerance += HalfUlp(dtype, std::abs(gradient) + tolerance) + HalfUlp(dtype, 0);
      if (!gradients.empty() && !Near(dtype, gradients[at], gradient, tolerance)) {
        return "grad_input" + where + ", class " + std::to_string(c) + ": " +
               std::to_string(gradients[at]) + ", expected " +
               std::to_string(static_cast<double>(gradient));
      }
      if (target_gradients.empty()) continue;
      const Real by_target = expected.valid ? s * expected.target_gradient[i] : nan;
      const DType type = plan.target().dtype;
      const Real slack = 8 * HalfUlp(IsHalf(type) ? DType::kFloat32 : type, by_target) +
                         HalfUlp(type, by_target) * (1 + 0x1p-8L);
      if (!Near(type, target_gradients[at], by_target, slack)) {
        return "grad_target" + where + ", class " + std::to_string(c);
      }
    }
  }
  if (const std::string wrong = CheckWeights(problem, results, reference, incoming[0], weights);
      !wrong.empty() && !overflows) {
    return wrong;
  }
  // An infinite loss makes the sum infinite, even if the formula's sum is finite.
  if (none || overflows) return "";
  if (plan.criterion().reduction == Reduction::kMean) {
    sum /= divisor;
    magnitude /= std::abs(divisor);
  }
  // Each summand was rounded, a tiny one to a multiple of the smallest subnormal.
  Real subnormal = HalfUlp(plan.loss_dtype(), 0) * (4 * plan.positions() + 1);
  if (plan.criterion().reduction == Reduction::kMean) {
    subnormal /= std::min(Real{1}, std::abs(divisor));
  }
  const Real slack = (wide ? 0x1p-49L : 0x1p-21L) * magnitude + subnormal;
  return divisor == 0 || Near(plan.loss_dtype(), losses[0], sum, slack) ? "" : "reduced loss";
}

}  // namespace lossd::testing
