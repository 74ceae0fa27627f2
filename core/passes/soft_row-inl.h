// Rows whose masses lie on many classes: smoothed class indices and probabilities. In float32
// arithmetic with sums in double; compiled once for each instruction set.
//
// loss = sum_c m_c (max - x_c) + (sum_c m_c) log(1 + tail). The first sum is taken span by span,
// each relative to the maximum so far, while the span's logits are in the first-level cache. With
// top_s that maximum at span s, and M_s the span's mass,
//   sum_c m_c (max - x_c) = sum_s [sum_(c in s) m_c (top_s - x_c) + M_s (max - top_s)],
// in which nothing cancels if masses are at least 0.

#if defined(LOSSD_CORE_PASSES_SOFT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_SOFT_ROW_INL_H_
#undef LOSSD_CORE_PASSES_SOFT_ROW_INL_H_
#else
#define LOSSD_CORE_PASSES_SOFT_ROW_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/passes/float_row-inl.h"
#include "core/passes/gradient_row-inl.h"
#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/lane_sums-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// The masses of classes, m_c = w_c (unsmoothed t_c + smooth), by lane, for probabilities of
/// storage type P.
template <typename P>
class Masses {
 public:
  explicit Masses(const MassSource& source)
      : t_(reinterpret_cast<const P*>(source.probabilities)),
        weight_(source.weight),
        unsmoothed_(source.unsmoothed),
        smooth_(source.smooth) {}

  /// Whether all masses are `smooth`.
  [[nodiscard]] HWY_INLINE bool Even() const { return t_ == nullptr && weight_ == nullptr; }

  /// The masses of one vector of classes; `t` holds their probabilities, if there are any.
  HWY_INLINE Halves At(size_t begin, V t) const {
    Halves mass(smooth_);
    if (t_ != nullptr) mass = Halves(unsmoothed_) * WidenLanes(t) + mass;
    if (weight_ != nullptr) mass = LoadHalves(weight_ + begin) * mass;
    return mass;
  }
  HWY_INLINE Halves At(size_t begin) const {
    return At(begin, t_ == nullptr ? hn::Zero(D()) : LoadVector(t_ + begin));
  }

  /// The masses of fewer than sixteen classes; the rest is 0.
  HWY_INLINE void Partial(size_t begin, size_t count, double (&to)[kBlock]) const {
    for (size_t i = 0; i < kBlock; ++i) to[i] = i < count ? One(begin + i) : 0.0;
  }
  [[nodiscard]] HWY_INLINE double One(size_t c) const {
    double mass = smooth_;
    if (t_ != nullptr) mass = unsmoothed_ * Probability(c) + mass;
    return weight_ == nullptr ? mass : weight_[c] * mass;
  }
  [[nodiscard]] HWY_INLINE double Probability(size_t c) const {
    return Widen(LoadRaw<P>(reinterpret_cast<const std::byte*>(t_ + c)));
  }

  [[nodiscard]] const P* probabilities() const { return t_; }

 private:
  const P* t_;
  const double* weight_;
  double unsmoothed_;
  double smooth_;
};

/// Adds up sum_c m_c (max - x_c) and sum_c m_c beside a row's exponentials, and finds the largest
/// probability.
template <typename T, typename P>
class MassSums {
 public:
  MassSums(const T* x, const MassSource& source) : x_(x), masses_(source) {
    std::fill(below_, below_ + kBlock, 0.0);
    std::fill(mass_, mass_ + kBlock, 0.0);
  }

  HWY_INLINE void AddSpan(size_t begin, size_t end, float top) {
    if (top > top_) {
      // The logits added so far lie deeper below the new top.
      const double lift = static_cast<double>(top) - static_cast<double>(top_);
      for (size_t i = 0; i < kBlock; ++i) below_[i] += mass_[i] * lift;
      top_ = top;
    }
    const size_t whole = begin + (end - begin) / kBlock * kBlock;
    if (masses_.Even()) {
      AddEven(begin, whole);
    } else if (masses_.probabilities() == nullptr) {
      AddWhole<false>(begin, whole);
    } else {
      AddWhole<true>(begin, whole);
    }
    if (whole < end) AddPartial(whole, end - whole);
  }

  /// REQUIRES: all spans have been added.
  void Finish(size_t classes, SoftRowStats* stats) {
    stats->below = AddLanes(below_);
    stats->total = AddLanes(mass_);
    if (masses_.probabilities() == nullptr) return;
    size_t i = greatest_begin_;
    while (i < classes && masses_.Probability(i) != static_cast<double>(greatest_)) ++i;
    stats->target_argmax = static_cast<int64_t>(i < classes ? i : 0);
  }

 private:
  /// For masses that are all the same.
  HWY_INLINE void AddEven(size_t begin, size_t end) {
    const Halves top(static_cast<double>(top_));
    LaneSums below;
    for (size_t i = begin; i < end; i += kBlock) {
      for (size_t p = 0; p < kParts; ++p) {
        below.Add(p, top - WidenLanes(LoadVector(x_ + i + p * kLanes)));
      }
    }
    HWY_ALIGN double lanes[kBlock];
    below.StoreTo(lanes);
    const double mass = masses_.One(0);
    const size_t blocks = (end - begin) / kBlock;
    const double count = static_cast<double>(blocks) * mass;
    for (size_t i = 0; i < kBlock; ++i) below_[i] += mass * lanes[i];
    for (double& lane : mass_) lane += count;
  }

  template <bool kProbabilities>
  HWY_INLINE void AddWhole(size_t begin, size_t end) {
    const D d;
    const Halves top(static_cast<double>(top_));
    LaneSums below;
    LaneSums sums;
    V greatest = hn::Set(d, -std::numeric_limits<float>::infinity());
    for (size_t i = begin; i < end; i += kBlock) {
      if (kProbabilities) PrefetchAhead<kBlock>(masses_.probabilities() + i);
      for (size_t p = 0; p < kParts; ++p) {
        const size_t at = i + p * kLanes;
        V t = hn::Zero(d);
        if constexpr (kProbabilities) {
          t = LoadVector(masses_.probabilities() + at);
          greatest = hn::Max(greatest, t);
        }
        const Halves mass = masses_.At(at, t);
        // A zero mass adds zero, even with an infinite logit.
        below.Add(p, ZeroWhereZero(mass, mass * (top - WidenLanes(LoadVector(x_ + at)))));
        sums.Add(p, mass);
      }
    }
    HWY_ALIGN double lanes[kBlock];
    below.StoreTo(lanes);
    for (size_t i = 0; i < kBlock; ++i) below_[i] += lanes[i];
    sums.StoreTo(lanes);
    for (size_t i = 0; i < kBlock; ++i) mass_[i] += lanes[i];
    if (kProbabilities && begin < end) SeeGreatest(begin, hn::GetLane(hn::MaxOfLanes(d, greatest)));
  }

  HWY_INLINE void AddPartial(size_t begin, size_t count) {
    double mass[kBlock];
    masses_.Partial(begin, count, mass);
    for (size_t i = 0; i < count; ++i) {
      const double x = Widen(LoadRaw<T>(reinterpret_cast<const std::byte*>(x_ + begin + i)));
      const double term = mass[i] * (static_cast<double>(top_) - x);
      below_[i] += mass[i] == 0.0 ? 0.0 : term;
      mass_[i] += mass[i];
      if (masses_.probabilities() == nullptr) continue;
      SeeGreatest(begin, static_cast<float>(masses_.Probability(begin + i)));
    }
  }

  HWY_INLINE void SeeGreatest(size_t begin, float greatest) {
    if (!(greatest > greatest_)) return;
    greatest_ = greatest;
    greatest_begin_ = begin;
  }

  const T* x_;
  Masses<P> masses_;
  float top_ = -kRange;
  HWY_ALIGN double below_[kBlock];  ///< Sums of m_c (top - x_c).
  HWY_ALIGN double mass_[kBlock];   ///< Sums of m_c.
  float greatest_ = -std::numeric_limits<float>::infinity();
  size_t greatest_begin_ = 0;
};

/// factor exp(x_c) - scale m_c, in double.
template <typename T, typename P>
class SoftGradientSource {
 public:
  SoftGradientSource(const T* x, const FloatRowStats& stats, double factor, double scale,
                     const MassSource& masses)
      : x_(x),
        exp_(stats.max, stats.max_exponent),
        factor_(factor),
        scale_(scale),
        masses_(masses),
        even_(masses_.Even()),
        even_term_(scale * masses.smooth) {}

  template <size_t kCount>
  HWY_INLINE void Make(size_t begin, V (&v)[kCount]) const {
    for (size_t p = 0; p < kCount; ++p) v[p] = LoadVector(x_ + begin + p * kLanes);
    exp_.Apply(v);
    for (size_t p = 0; p < kCount; ++p) {
      const Halves term = even_ ? even_term_ : scale_ * masses_.At(begin + p * kLanes);
      v[p] = NarrowLanes(factor_ * WidenLanes(v[p]) - term);
    }
  }

  HWY_INLINE Block MakePartial(size_t begin, size_t count) const {
    Block block = LoadPartial(x_ + begin, count);
    exp_.Apply(block.parts);
    HWY_ALIGN double mass[kBlock];
    masses_.Partial(begin, count, mass);
    for (size_t p = 0; p < kParts; ++p) {
      const Halves term = even_ ? even_term_ : scale_ * LoadHalves(mass + p * kLanes);
      block.parts[p] = NarrowLanes(factor_ * WidenLanes(block.parts[p]) - term);
    }
    return block;
  }

 private:
  const T* x_;
  ScaledExp exp_;
  Halves factor_;
  Halves scale_;
  Masses<P> masses_;
  bool even_;
  Halves even_term_;
};

template <typename T, typename P>
SoftRowStats AnalyzeSoftRow(const std::byte* x, size_t classes, const MassSource& masses) {
  const T* logits = reinterpret_cast<const T*>(x);
  MassSums<T, P> sums(logits, masses);
  FloatRow<T, MassSums<T, P> > row;
  row.Begin(logits, classes, nullptr, &sums);
  row.Sum();
  const RowSum sum[1] = {row.Finish()};
  SoftRowStats stats;
  if (!sum[0].in_range) return stats;
  FloatRowStats found[1];
  FinishRows(sum, found);
  stats.row = found[0];
  stats.argmax = static_cast<int64_t>(row.FindMaximum());
  sums.Finish(classes, &stats);
  return stats;
}

template <typename T, typename P>
void WriteSoftGradient(const std::byte* x, size_t classes, const FloatRowStats& stats,
                       double factor, double scale, const MassSource& masses,
                       const GradientEntries& entries, bool stream, std::byte* out) {
  using Source = SoftGradientSource<T, P>;
  const Source source(reinterpret_cast<const T*>(x), stats, factor, scale, masses);
  GradientRow<T, Source>(source, reinterpret_cast<T*>(out)).Write(classes, stream, entries);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_SOFT_ROW_INL_H_
