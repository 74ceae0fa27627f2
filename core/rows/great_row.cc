#include "core/rows/great_row.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/sums/scaled.h"

namespace lossd {
namespace {

double At(const std::byte* values, size_t c) {
  return LoadRaw<double>(values + c * sizeof(double));
}

void Store(const Scaled& value, size_t c, std::byte* out) {
  StoreRaw(out + c * sizeof(double), Narrow<double>(value.ToDouble()));
}

/// Removes the scale of exponentials; subnormal ones keep all their bits.
Scaled Unscaled(double scaled) { return Scaled::Of(scaled, -kWideExponent<double>); }

/// -l of a logit.
Scaled NegativeLog(const WideRowStats& stats, double logit) {
  const double below = stats.max - logit;
  // If log1p(tail) equals the tail, it may be below double's normal range.
  if (below == 0.0 && stats.log_norm < 0x1p-900) return Unscaled(stats.tail);
  if (std::isfinite(below)) return Scaled::Of(below + stats.log_norm);
  return Scaled::Of(0.5 * stats.max - 0.5 * logit, 1);
}

/// u_c: the mass without the class's weight and without the label's own mass.
double Share(const MassSource& masses, size_t c) {
  if (masses.probabilities == nullptr) return masses.smooth;
  return std::fma(masses.unsmoothed, At(masses.probabilities, c), masses.smooth);
}

Scaled WeightOf(const MassSource& masses, size_t c) {
  return Scaled::Of(masses.weight == nullptr ? 1.0 : masses.weight[c]);
}

Scaled Mass(const MassSource& masses, size_t c, int64_t label) {
  const Scaled weight = WeightOf(masses, c);
  const Scaled spread = weight * Scaled::Of(Share(masses, c));
  return static_cast<int64_t>(c) == label ? spread + weight * Scaled::Of(masses.unsmoothed)
                                          : spread;
}

}  // namespace

Scaled GreatRow::Tail() const { return Unscaled(stats_.tail); }

double GreatRow::Norm() const { return 1.0 + Tail().ToDouble(); }

Scaled GreatRow::Exponential(size_t c) const { return Unscaled(exponentials_[c]); }

double GreatRow::TimesNegativeLog(const WideRowStats& stats, double factor, double logit) {
  return (Scaled::Of(factor) * NegativeLog(stats, logit)).ToDouble();
}

void GreatRow::HardGradient(size_t label, double weight, double scale, std::byte* out) const {
  const Scaled own = Scaled::Of(weight) * Scaled::Of(scale);
  const Scaled factor = own / Scaled::Of(Norm());
  for (size_t c = 0; c < classes_; ++c) {
    Store(factor * Exponential(c), c, out);
  }
  const bool top = static_cast<int64_t>(label) == stats_.argmax;
  if (top) return Store(-(factor * Tail()), label, out);
  const double others = Norm() - Exponential(label).ToDouble();
  Store(-(own * Scaled::Of(others / Norm())), label, out);
}

double GreatRow::Loss(const std::byte* x, const MassSource& masses, int64_t label) const {
  ScaledSum loss;
  for (size_t c = 0; c < classes_; ++c) {
    const Scaled mass = Mass(masses, c, label);
    if (!mass.IsZero()) loss.Add(mass * NegativeLog(stats_, At(x, c)));
  }
  return loss.Total().ToDouble();
}

void GreatRow::InputGradient(double scale, const MassSource& masses, int64_t label,
                             std::byte* out) const {
  ScaledSum sum;
  for (size_t c = 0; c < classes_; ++c) sum.Add(Mass(masses, c, label));
  const Scaled total = sum.Total();
  const Scaled factor = Scaled::Of(scale);
  for (size_t c = 0; c < classes_; ++c) {
    const Scaled mass = Mass(masses, c, label);
    // The maximum's p may be near 1, and then nothing is as exact as the tail.
    const bool top = static_cast<int64_t>(c) == stats_.argmax;
    const Scaled value = top ? (total - mass) - total * Tail() / Scaled::Of(Norm())
                             : ProductMinus(total, Exponential(c).ToDouble() / Norm(), mass);
    Store(factor * value, c, out);
  }
}

void GreatRow::TargetGradient(const std::byte* x, double scale, const MassSource& masses,
                              std::byte* out) const {
  for (size_t c = 0; c < classes_; ++c) {
    const Scaled factor = WeightOf(masses, c) * Scaled::Of(masses.unsmoothed);
    const Scaled value =
        factor.IsZero() ? Scaled() : Scaled::Of(scale) * factor * NegativeLog(stats_, At(x, c));
    Store(value, c, out);
  }
}

void GreatRow::WeightTerms(const std::byte* x, double scale, const MassSource& masses,
                           int64_t label, double* terms) const {
  for (size_t c = 0; c < classes_; ++c) {
    const double own = static_cast<int64_t>(c) == label ? masses.unsmoothed : 0.0;
    const double share = Share(masses, c) + own;
    const Scaled term = Scaled::Of(scale) * Scaled::Of(share) * NegativeLog(stats_, At(x, c));
    terms[c] = share == 0.0 ? 0.0 : term.ToDouble();
  }
}

}  // namespace lossd
