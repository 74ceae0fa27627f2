// One row in double arithmetic, compiled once for each instruction set: the loss and its gradients
// for smoothing, probabilities, float64, and rows that the passes in float32 leave. A row that
// leaves double's range here is recognized by its results, and core/rows/great_row.h evaluates it
// again.
//
// Everything is computed in double in a fixed order over eight virtual lanes and rounded once at
// the end. Only FusedProductPlus and FusedProductMinus use fused operations. For float64 input, the
// differences x - max and the sums carry their rounding errors along (TwoSum), which keeps the loss
// within 4 ulp. Loops run over pieces of 512 classes, plain enough for the compiler to vectorize.

#if defined(LOSSD_CORE_PASSES_WIDE_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_WIDE_ROW_INL_H_
#undef LOSSD_CORE_PASSES_WIDE_ROW_INL_H_
#else
#define LOSSD_CORE_PASSES_WIDE_ROW_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/math.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

constexpr size_t kWideLanes = 8;
constexpr size_t kPiece = 512;
static_assert(kPiece % kWideLanes == 0);

using WideD = hn::CappedTag<double, kWideLanes>;
using WideV = hn::Vec<WideD>;
constexpr size_t kWideVector = hn::MaxLanes(WideD());
constexpr size_t kWideParts = kWideLanes / kWideVector;

/// A sum, and beside it the sum of its rounding errors.
struct Compensated {
  double sum = 0;
  double error = 0;
  void Add(double value) {
    const double next = sum + value;
    const double part = next - sum;
    error += (sum - (next - part)) + (value - part);
    sum = next;
  }
};

/// A sum over eight lanes: item i goes to lane i % 8, and the lanes are added in a fixed order at
/// the end. With kExact the rounding errors are summed too.
template <bool kExact>
class WideSum {
 public:
  HWY_INLINE WideSum() {
    for (size_t p = 0; p < kWideParts; ++p) sums_[p] = errors_[p] = hn::Zero(WideD());
  }

  /// Adds `count` values, and writes zeros after the last one, up to a multiple of eight. REQUIRES:
  /// `count` is a multiple of eight in all calls but the last.
  HWY_INLINE void Add(double* values, size_t count) {
    const WideD d;
    const size_t whole = (count + kWideLanes - 1) / kWideLanes * kWideLanes;
    std::fill(values + count, values + whole, 0.0);
    for (size_t i = 0; i < whole; i += kWideLanes) {
      for (size_t p = 0; p < kWideParts; ++p) {
        const WideV value = hn::LoadU(d, values + i + p * kWideVector);
        const WideV next = hn::Add(sums_[p], value);
        if constexpr (kExact) {
          const WideV part = hn::Sub(next, sums_[p]);
          errors_[p] = hn::Add(
              errors_[p], hn::Add(hn::Sub(sums_[p], hn::Sub(next, part)), hn::Sub(value, part)));
        }
        sums_[p] = next;
      }
    }
  }

  [[nodiscard]] HWY_INLINE double Total() const {
    HWY_ALIGN double sums[kWideLanes];
    HWY_ALIGN double errors[kWideLanes];
    for (size_t p = 0; p < kWideParts; ++p) {
      hn::Store(sums_[p], WideD(), sums + p * kWideVector);
      hn::Store(errors_[p], WideD(), errors + p * kWideVector);
    }
    Compensated top;
    double error = 0;
    for (size_t i = 0; i < kWideLanes; ++i) {
      top.Add(sums[i]);
      error += errors[i];
    }
    // An infinite sum has no meaningful error.
    return std::isfinite(top.sum) ? top.sum + (top.error + error) : top.sum;
  }

 private:
  WideV sums_[kWideParts];
  WideV errors_[kWideParts];
};

template <typename T>
HWY_INLINE void WidenPiece(const std::byte* from, size_t count, double* to) {
  for (size_t i = 0; i < count; ++i) to[i] = Widen(LoadRaw<T>(from + i * sizeof(T)));
}

template <typename T>
HWY_INLINE void NarrowPiece(const double* from, size_t count, std::byte* to) {
  for (size_t i = 0; i < count; ++i) StoreRaw(to + i * sizeof(T), Narrow<T>(from[i]));
}

/// Calls function(begin, count) for pieces of a row.
template <typename Function>
HWY_INLINE void ForPieces(size_t classes, const Function& function) {
  for (size_t begin = 0; begin < classes; begin += kPiece) {
    function(begin, std::min(kPiece, classes - begin));
  }
}

/// p = factor p + term, rounded once.
HWY_INLINE void FusedProductPlus(double factor, double term, size_t count, double* p) {
  size_t i = 0;
#if !LOSSD_NO_FMA
  const WideD d;
  const WideV a = hn::Set(d, factor);
  const WideV b = hn::Set(d, term);
  for (; i + kWideVector <= count; i += kWideVector) {
    hn::StoreU(hn::MulAdd(a, hn::LoadU(d, p + i), b), d, p + i);
  }
#endif
  for (; i < count; ++i) p[i] = std::fma(factor, p[i], term);
}

/// Fills in m_c of a piece. A second rounding took a float64 gradient beyond 4e-16, once in a
/// million problems.
template <typename P>
HWY_INLINE void FillMasses(const MassSource& masses, size_t begin, size_t count, double* to) {
  if (masses.probabilities != nullptr) {
    WidenPiece<P>(masses.probabilities + begin * sizeof(P), count, to);
    FusedProductPlus(masses.unsmoothed, masses.smooth, count, to);
  } else {
    std::fill(to, to + count, masses.smooth);
  }
  if (masses.weight == nullptr) return;
  for (size_t i = 0; i < count; ++i) to[i] = masses.weight[begin + i] * to[i];
}

template <typename T>
class WideRow {
 public:
  static constexpr bool kExact = std::is_same_v<T, double>;

  static WideRowStats Analyze(const std::byte* x, size_t classes, double* exponentials) {
    WideRowStats stats = FindMaximum(x, classes);
    if (!stats.valid) return stats;
    const auto argmax = static_cast<size_t>(stats.argmax);
    WideSum<kExact> tail;
    HWY_ALIGN double piece[kPiece];
    ForPieces(classes, [&](size_t begin, size_t count) {
      WidenPiece<T>(x + begin * sizeof(T), count, piece);
      for (size_t i = 0; i < count; ++i) piece[i] = ShiftedExp(piece[i], stats.max);
      // The maximum stays out of the sum, so that a tiny remainder keeps all its bits for log1p.
      if (argmax - begin < count) piece[argmax - begin] = 0.0;
      std::copy(piece, piece + count, exponentials + begin);
      tail.Add(piece, count);
    });
    exponentials[argmax] = kWideScale<T>;
    stats.tail = tail.Total();
    stats.log_norm = Log1pNonNegative(Unscale<T>(1.0, stats.tail));
    return stats;
  }

 private:
  static WideRowStats FindMaximum(const std::byte* x, size_t classes) {
    const WideD d;
    WideRowStats stats;
    stats.max = -std::numeric_limits<double>::infinity();
    bool nan = false;
    HWY_ALIGN double piece[kPiece];
    ForPieces(classes, [&](size_t begin, size_t count) {
      WidenPiece<T>(x + begin * sizeof(T), count, piece);
      const size_t whole = (count + kWideLanes - 1) / kWideLanes * kWideLanes;
      std::fill(piece + count, piece + whole, -std::numeric_limits<double>::infinity());
      WideV most = hn::Load(d, piece);
      auto nans = hn::IsNaN(most);
      for (size_t i = kWideVector; i < whole; i += kWideVector) {
        const WideV v = hn::Load(d, piece + i);
        nans = hn::Or(nans, hn::IsNaN(v));
        most = hn::Max(most, v);
      }
      if (!hn::AllFalse(d, nans)) nan = true;
      const double greatest = hn::GetLane(hn::MaxOfLanes(d, most));
      if (nan || !(greatest > stats.max)) return;
      stats.max = greatest;
      stats.argmax =
          static_cast<int64_t>(begin) + (std::find(piece, piece + count, greatest) - piece);
    });
    stats.valid = !nan && std::isfinite(stats.max);
    return stats;
  }

  static HWY_INLINE double ShiftedExp(double x, double max) {
    const double difference = x - max;
    const double result = ExpNonPositive<kWideExponent<T>>(difference);
    if constexpr (!kExact) return result;
    // e^(d + error) = e^d (1 + error), where the error is below an ulp of d.
    const double back = difference - x;
    const double error = (x - (difference - back)) + (-max - back);
    const double corrected = result + result * error;
    return difference >= std::numeric_limits<double>::lowest() ? corrected : 0.0;
  }
};

template <typename T>
WideRowStats AnalyzeWideRow(const std::byte* x, size_t classes, double* exponentials) {
  return WideRow<T>::Analyze(x, classes, exponentials);
}

template <typename T, typename P>
double SumMasses(const std::byte* x, size_t classes, double max, const MassSource& masses,
                 double* total) {
  WideSum<WideRow<T>::kExact> mass_sum;
  WideSum<WideRow<T>::kExact> loss_sum;
  HWY_ALIGN double mass[kPiece];
  HWY_ALIGN double term[kPiece];
  ForPieces(classes, [&](size_t begin, size_t count) {
    FillMasses<P>(masses, begin, count, mass);
    WidenPiece<T>(x + begin * sizeof(T), count, term);
    for (size_t i = 0; i < count; ++i) {
      const double product = mass[i] * (max - term[i]);
      term[i] = mass[i] == 0.0 ? 0.0 : product;
    }
    mass_sum.Add(mass, count);
    loss_sum.Add(term, count);
  });
  *total = mass_sum.Total();
  return loss_sum.Total();
}

template <typename T>
void ScaleWide(const double* exponentials, size_t classes, double factor, std::byte* out) {
  HWY_ALIGN double piece[kPiece];
  ForPieces(classes, [&](size_t begin, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      piece[i] = Unscale<T>(factor, exponentials[begin + i]);
    }
    NarrowPiece<T>(piece, count, out + begin * sizeof(T));
  });
}

/// p = factor p - m, rounded once: a second rounding would take float64 gradients beyond 4e-16,
/// once in some hundred million.
HWY_INLINE void FusedProductMinus(double factor, const double* m, size_t count, double* p) {
  size_t i = 0;
#if !LOSSD_NO_FMA
  const WideD d;
  const WideV a = hn::Set(d, factor);
  for (; i + kWideVector <= count; i += kWideVector) {
    hn::StoreU(hn::MulSub(a, hn::LoadU(d, p + i), hn::LoadU(d, m + i)), d, p + i);
  }
#endif
  for (; i < count; ++i) p[i] = std::fma(factor, p[i], -m[i]);
}

/// Whether all values are finite, for float64 logits. For narrower logits they always are.
template <typename T>
HWY_INLINE bool AllFinite(const double* values, size_t count) {
  if constexpr (!WideRow<T>::kExact) return true;
  // Adding one to an exponent field of all ones carries into the sign. Plain integer steps, which
  // compilers vectorize.
  constexpr uint64_t kField = uint64_t{0x7FF} << 52U;
  uint64_t carries = 0;
  for (size_t i = 0; i < count; ++i) {
    carries |= (std::bit_cast<uint64_t>(values[i]) & kField) + (uint64_t{1} << 52U);
  }
  return (carries >> 63U) == 0;
}

template <typename T, typename P>
bool MassGradient(const double* exponentials, size_t classes, double total, double norm,
                  double scale, const MassSource& masses, std::byte* out) {
  HWY_ALIGN double mass[kPiece];
  HWY_ALIGN double piece[kPiece];
  bool finite = true;
  ForPieces(classes, [&](size_t begin, size_t count) {
    FillMasses<P>(masses, begin, count, mass);
    for (size_t i = 0; i < count; ++i) {
      piece[i] = Unscale<T>(1.0, exponentials[begin + i]) / norm;
    }
    FusedProductMinus(total, mass, count, piece);
    for (size_t i = 0; i < count; ++i) piece[i] = scale * piece[i];
    finite = AllFinite<T>(piece, count) && finite;
    NarrowPiece<T>(piece, count, out + begin * sizeof(T));
  });
  return finite;
}

template <typename T, typename P>
bool TargetGradient(const std::byte* x, size_t classes, const WideRowStats& stats, double scale,
                    const MassSource& masses, std::byte* out) {
  HWY_ALIGN double piece[kPiece];
  bool finite = true;
  ForPieces(classes, [&](size_t begin, size_t count) {
    WidenPiece<T>(x + begin * sizeof(T), count, piece);
    for (size_t i = 0; i < count; ++i) {
      const double factor =
          masses.unsmoothed * (masses.weight == nullptr ? 1.0 : masses.weight[begin + i]);
      const double value = scale * (factor * ((stats.max - piece[i]) + stats.log_norm));
      piece[i] = factor == 0.0 ? 0.0 : value;
    }
    finite = AllFinite<T>(piece, count) && finite;
    NarrowPiece<P>(piece, count, out + begin * sizeof(P));
  });
  return finite;
}

template <typename T, typename P>
bool WeightTerms(const std::byte* x, size_t classes, const WideRowStats& stats, double scale,
                 const MassSource& masses, double* terms) {
  MassSource unweighted = masses;
  unweighted.weight = nullptr;
  HWY_ALIGN double share[kPiece];
  HWY_ALIGN double piece[kPiece];
  bool finite = true;
  ForPieces(classes, [&](size_t begin, size_t count) {
    FillMasses<P>(unweighted, begin, count, share);
    WidenPiece<T>(x + begin * sizeof(T), count, piece);
    for (size_t i = 0; i < count; ++i) {
      const double log = stats.valid ? (stats.max - piece[i]) + stats.log_norm
                                     : std::numeric_limits<double>::quiet_NaN();
      terms[begin + i] = share[i] == 0.0 ? 0.0 : scale * (share[i] * log);
    }
    finite = AllFinite<T>(terms + begin, count) && finite;
  });
  return finite;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_WIDE_ROW_INL_H_
