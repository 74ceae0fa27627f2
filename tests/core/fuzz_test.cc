// Random problems of every kind against the formulas of docs/semantics.md in long double, on every
// instruction set in turn. LOSSD_FULL=1 runs a million, else some thousands.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/plan.h"
#include "core/scaled.h"
#include "core/summary.h"
#include "hwy/highway.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

using Real = long double;

/// What the formulas give for one position, and what errors are measured by.
struct Expected {
  bool valid = true;  ///< False: loss and gradients are NaN.
  bool ignored = false;
  Real loss = 0;
  Real magnitude = 0;                  ///< Sum of |m_c l_c|, the two parts of m_c taken apart.
  Real mass = 0;                       ///< Sum of |m_c|, likewise.
  std::vector<Real> gradient;          ///< For a scale of 1.
  std::vector<Real> target_gradient;   ///< For a scale of 1.
  std::vector<Real> weight_gradient;   ///< For a scale of 1: u_c (-l_c).
  std::vector<Real> weight_magnitude;  ///< The two parts of u_c taken apart.
  int64_t label = -1;                  ///< The class index, if there is one.
};

/// The tensors of a problem, widened, position by position.
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
  /// Where (position, class) lies.
  [[nodiscard]] size_t At(int64_t position, int64_t c) const {
    const int64_t inner = plan_->inner();
    return static_cast<size_t>((position / inner * plan_->classes() + c) * inner +
                               position % inner);
  }

  [[nodiscard]] Expected Evaluate(int64_t n) const {
    Expected result;
    const auto classes = static_cast<size_t>(plan_->classes());
    const Real e = plan_->options().label_smoothing;
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
      // Probabilities below 0 may cancel with the even share; errors are measured by what both are.
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
      // One class alone holds all the mass: minus the sum of the others, nothing cancels.
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

/// Half a unit in the last place of `dtype` at `value`.
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

/// The greatest share of a tolerance that an error took.
Real greatest_share = 0;

Real Greatest(DType dtype) {
  if (dtype == DType::kFloat64) return std::numeric_limits<double>::max();
  if (dtype == DType::kFloat16) return 65504;
  if (dtype == DType::kBFloat16) return 0x1.FEp127L;
  return std::numeric_limits<float>::max();
}

/// Whether `actual`, a value of `dtype`, is `expected` within the tolerance, or infinite where that
/// is beyond the type's range.
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

/// Random logits of a random spread, -inf among them, now and then NaN or +inf.
void ReplaceLogits(std::mt19937_64* random, OwnedProblem* problem) {
  std::vector<double> x = Values(problem->input.spec.dtype, problem->input.bytes);
  const double spread = std::ldexp(1.0, static_cast<int>((*random)() % 12) - 6);
  const double offset = (*random)() % 8 == 0 ? 700.0 : 0.0;
  const bool wild = (*random)() % 4 == 0;
  for (double& value : x) {
    value = value * spread + offset;
    if (wild && (*random)() % 9 == 0) value = -HUGE_VAL;
    if (wild && (*random)() % 300 == 0) value = (*random)() % 2 == 0 ? NAN : HUGE_VAL;
  }
  problem->input = MakeTensor(problem->input.spec.dtype, problem->input.spec.shape, x);
}

/// A row wide enough to go by itself, in place of one that may not be.
void Widen(std::mt19937_64* random, OwnedProblem* problem) {
  const auto classes = static_cast<int64_t>(65 + (*random)() % 1500);
  std::normal_distribution<double> normal(0, 4);
  std::vector<double> x(static_cast<size_t>(3 * classes));
  for (double& value : x) value = normal(*random);
  std::vector<double> labels(3);
  for (double& label : labels) {
    label = static_cast<double>((*random)() % static_cast<uint64_t>(classes));
  }
  *problem = MakeIndex(static_cast<DType>((*random)() % 4), {3, classes}, x, labels);
  problem->options.reduction = static_cast<Reduction>((*random)() % 3);
  if ((*random)() % 4 == 0) problem->options.label_smoothing = 0.1;
}

Real ToReal(const Scaled& value) {
  return std::ldexp(static_cast<Real>(value.value), static_cast<int>(value.exponent));
}

/// What a class's weight has to do with the loss: sum of s_n u_c (-l_c), and of its magnitude.
struct WeightTerm {
  Real sum = 0;
  Real magnitude = 0;
  Real counted = 0;        ///< Positions with this label.
  bool overflows = false;  ///< Whether a summand is beyond the range.
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

/// The same for the gradient of the weight, which ends with what the divisor depends on it.
std::string CheckWeights(const OwnedProblem& problem, const Results& results,
                         const Reference& reference, double g,
                         const std::vector<WeightTerm>& terms) {
  const Plan& plan = reference.plan();
  if (!plan.outputs().grad_weight) return "";
  const DType type = plan.WeightDType();
  const std::vector<double> gradients = Values(type, results.grad_weight);
  const bool divides = plan.options().reduction == Reduction::kMean && !plan.options().normalizer &&
                       reference.index();
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

/// Empty where the results are what the formulas give; else what differs.
std::string Check(const OwnedProblem& problem, const Results& results) {
  const Reference reference(problem);
  const Plan& plan = reference.plan();
  const DType dtype = plan.input().dtype;
  const bool wide = dtype == DType::kFloat64;
  const bool none = plan.options().reduction == Reduction::kNone;
  const std::vector<double> losses = Values(plan.loss_dtype(), results.loss);
  const std::vector<double> gradients = Values(dtype, results.grad_input);
  const std::vector<double> target_gradients =
      Values(plan.target().dtype, reference.index() ? Bytes() : results.grad_target);
  std::vector<double> incoming(1, 1.0);
  if (problem.grad_output) {
    incoming = Values(problem.grad_output->spec.dtype, problem.grad_output->bytes);
  }
  const Scaled wide_divisor = ScaledDivisor(plan.options(), results.summary.normalizer);
  const Real divisor = ToReal(wide_divisor);
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
    const Real ulps = wide ? 8 : 4;  // Halves of them.
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
    const bool sharp = reference.index() && plan.options().label_smoothing == 0;
    for (int64_t c = 0; c < plan.classes(); ++c) {
      const size_t at = reference.At(n, c);
      const auto i = static_cast<size_t>(c);
      const Real gradient = expected.ignored ? 0 : expected.valid ? s * expected.gradient[i] : nan;
      const DType arithmetic = IsHalf(dtype) ? DType::kFloat32 : dtype;
      Real tolerance = sharp ? 8 * HalfUlp(arithmetic, gradient)
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
  // A loss that is infinite stays so in the sum, which may be finite.
  if (none || overflows) return "";
  if (plan.options().reduction == Reduction::kMean) {
    sum /= divisor;
    magnitude /= std::abs(divisor);
  }
  // Each summand was rounded; the least of them to a multiple of the smallest subnormal.
  Real subnormal = HalfUlp(plan.loss_dtype(), 0) * (4 * plan.positions() + 1);
  if (plan.options().reduction == Reduction::kMean) {
    subnormal /= std::min(Real{1}, std::abs(divisor));
  }
  const Real slack = (wide ? 0x1p-49L : 0x1p-21L) * magnitude + subnormal;
  return divisor == 0 || Near(plan.loss_dtype(), losses[0], sum, slack) ? "" : "reduced loss";
}

/// Logits, targets, weights and incoming gradients near both ends of the range, so that what they
/// are made into leaves it on the way to results that need not.
void ReplaceByGreat(std::mt19937_64* random, OwnedProblem* problem) {
  const DType dtype = problem->input.spec.dtype;
  const int most = dtype == DType::kFloat64 ? 1020 : 124;
  const auto greatest = static_cast<double>(Greatest(dtype));
  const auto enlarge = [&](int least, OwnedTensor* tensor) {
    if ((*random)() % 3 == 0) return;
    const int power = least + static_cast<int>((*random)() % static_cast<uint64_t>(most - least));
    const bool all = (*random)() % 2 == 0;
    const bool positive = (*random)() % 2 == 0;
    std::vector<double> values = Values(tensor->spec.dtype, tensor->bytes);
    for (double& value : values) {
      if (all || (*random)() % 2 == 0) value = std::ldexp(value, power);
      if (positive && least != most / 2) value = std::abs(value);
      value = std::clamp(value, -greatest, greatest);
    }
    *tensor = MakeTensor(tensor->spec.dtype, tensor->spec.shape, values);
  };
  enlarge(most / 2, &problem->input);
  if (!IsInteger(problem->target.spec.dtype)) enlarge(0, &problem->target);
  if (problem->weight) enlarge(-most * 3 / 4, &*problem->weight);
  if (problem->grad_output) enlarge(-most * 3 / 4, &*problem->grad_output);
}

TEST(Fuzz, GreatNumbersGiveTheFormulas) {
  int tried = 0;
  for (uint64_t seed = 0; tried < 4000; ++seed) {
    std::mt19937_64 random(seed);
    OwnedProblem problem = RandomProblem(&random);
    if (problem.input.spec.dtype == DType::kFloat16) continue;
    ++tried;
    if (seed % 10 == 0) Widen(&random, &problem);
    if (problem.input.spec.dtype == DType::kFloat16) continue;
    ReplaceByGreat(&random, &problem);
    const auto results = RunBatch(problem);
    ASSERT_TRUE(results.ok()) << "seed " << seed << ": " << results.status();
    ASSERT_EQ(Check(problem, *results), "")
        << "seed " << seed << ", " << Name(problem.input.spec.dtype);
  }
}

TEST(Fuzz, EveryInstructionSetGivesTheFormulas) {
  hwy::SetSupportedTargetsForTest(0);
  std::vector<int64_t> targets;
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    targets.push_back(left & -left);
  }
  const char* full = std::getenv("LOSSD_FULL");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr uint64_t kSome = 1500;  // Sanitizers take their time.
#else
  constexpr uint64_t kSome = 6000;
#endif
  const uint64_t problems = full != nullptr && std::string(full) == "1" ? 1000000 : kSome;
  // And one that failed once.
  for (uint64_t i = 0; i <= problems; ++i) {
    const uint64_t seed = i < problems ? i : 762071;
    std::mt19937_64 random(seed);
    OwnedProblem problem = RandomProblem(&random);
    if (seed % 10 == 0) Widen(&random, &problem);
    ReplaceLogits(&random, &problem);
    hwy::SetSupportedTargetsForTest(targets[seed % targets.size()]);
    const auto results = RunBatch(problem);
    ASSERT_TRUE(results.ok()) << "seed " << seed << ": " << results.status();
    ASSERT_EQ(Check(problem, *results), "") << "seed " << seed;
  }
  hwy::SetSupportedTargetsForTest(0);
  std::cout << problems << " problems; the greatest error took "
            << static_cast<double>(greatest_share) << " of its tolerance\n";
}

}  // namespace
}  // namespace lossd::testing
