// The sums of a row in float32 arithmetic, compiled once for each instruction set.
//
// A row is read from memory once: the pass that finds the maximum also sums the exponentials,
// relative to a reference from the row's first 64 logits. On a Zen 3 with AVX2, one thread, 64
// million logits in rows of 8,192 and of 128,256, this took 0.80 and 0.75 of the time of a maximum
// pass over blocks of 16 KiB followed by their sum, and 0.79 and 0.68 of that of a maximum pass
// over the row.

#if defined(LOSSD_CORE_PASSES_FLOAT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_FLOAT_ROW_INL_H_
#undef LOSSD_CORE_PASSES_FLOAT_ROW_INL_H_
#else
#define LOSSD_CORE_PASSES_FLOAT_ROW_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/passes/row_finish-inl.h"
#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/lane_sums-inl.h"
#include "core/simd/row_scan-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

constexpr size_t kSpan = 16 * kChunk;  ///< Classes that have a sum and a maximum of their own.
constexpr float kRange = 1024.0F;      ///< Largest |maximum| that these passes serve.

/// Sums of a span of classes, by virtual lane.
struct SpanSum {
  HWY_ALIGN double lanes[kBlock];
  HWY_ALIGN float maxima[kBlock];
  float max;
};

/// A companion computes further sums in the same pass: AddSpan(begin, end, top) is called once for
/// each span, in order, while the span is in the first-level cache. `top` is the maximum so far,
/// but at least -kRange. NoCompanion computes nothing.
struct NoCompanion {
  HWY_INLINE void AddSpan(size_t /*begin*/, size_t /*end*/, float /*top*/) {}
};

/// One row of storage type T: Begin, Sum, Finish. Each step is taken for all rows that are analyzed
/// together before the next step. The operations before and after a row's sum are chains of
/// dependent ones, and the chains of several rows overlap.
template <typename T, typename Companion>
class FloatRow {
 public:
  HWY_INLINE FloatRow() {}  // NOLINT(modernize-use-equals-default): as Block's.

  /// `kept`, if not null, gets the exponentials; the row is one span then.
  HWY_INLINE void Begin(const T* x, size_t classes, float* kept, Companion* companion) {
    x_ = x;
    classes_ = classes;
    kept_ = kept;
    companion_ = companion;
    // Not std::fill, which GCC turns into a string instruction that took 3 % of a row of 1,000
    // classes.
    const LaneSums none;
    none.StoreTo(total_);
    none.StoreTo(best_.lanes);
    best_.max = -std::numeric_limits<float>::infinity();
    SetReference(MaxOfFirst());
  }

  /// Sums all spans; stops if the maximum is out of range.
  HWY_INLINE void Sum() {
    for (size_t begin = 0; begin < classes_; begin += kSpan) {
      SpanSum span = SumAll(begin);
      if (HWY_UNLIKELY(span.max > reference_ + kHeadroom)) {
        if (!(span.max <= kRange)) {
          best_.max = span.max;
          return;
        }
        Rescale(span.max);
        span = SumAll(begin);
      }
      companion_->AddSpan(begin, std::min(begin + kSpan, classes_),
                          std::max({span.max, best_.max, -kRange}));
      // The span with the maximum stays out of the total, so that the maximum is left out of few
      // terms, not subtracted from many.
      if (span.max > best_.max) {
        AddToTotal(best_);
        best_ = span;
        best_begin_ = begin;
      } else {
        AddToTotal(span);
      }
    }
  }

  /// Not in range if a logit is NaN or the maximum is out of range.
  HWY_INLINE RowSum Finish() const {
    RowSum sum;
    if (!(std::abs(best_.max) <= kRange)) return sum;
    sum.max = best_.max;
    sum.rest = SumOfOthers();
    sum.exponent = exponent_;
    // NaN stays NaN through exponentials and sums.
    sum.in_range = !std::isnan(sum.rest);
    return sum;
  }

  /// The lowest index of the maximum. REQUIRES: Finish found the row in range.
  [[nodiscard]] size_t FindMaximum() const {
    return FindFrom(x_, best_begin_, classes_, best_.max);
  }

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  /// The maximum of the row's first chunk, clamped to the range; any number in it if a logit is
  /// NaN.
  HWY_INLINE V MaxOfFirst() const {
    const D d;
    V max = hn::Set(d, -kRange);
    for (size_t i = 0; i < kChunk && i < classes_; i += kBlock) {
      const Block block = LoadAt(i);
      for (const V& part : block.parts) max = hn::Max(max, part);
    }
    return hn::Min(hn::Max(hn::MaxOfLanes(d, max), hn::Set(d, -kRange)), hn::Set(d, kRange));
  }

  HWY_INLINE void SetReference(V reference) {
    const V exponent = ScaledExp::NearestExponent(reference);
    exp_ = ScaledExp(reference, exponent);
    reference_ = hn::GetLane(reference);
    exponent_ = hn::GetLane(hn::ConvertTo(DI(), exponent));
  }

  /// Sets a new reference. Scaling by a power of two rounds nothing that could matter.
  void Rescale(float reference) {
    const int32_t before = exponent_;
    SetReference(hn::Set(D(), reference));
    const double factor = PowerOfTwo(before - exponent_);
    for (size_t i = 0; i < kBlock; ++i) {
      total_[i] *= factor;
      best_.lanes[i] *= factor;
    }
  }

  void AddToTotal(const SpanSum& span) {
    for (size_t i = 0; i < kBlock; ++i) total_[i] += span.lanes[i];
  }

  HWY_INLINE Block LoadAt(size_t begin) const {
    if (HWY_UNLIKELY(begin + kBlock > classes_)) return LoadPartial(x_ + begin, classes_ - begin);
    Block block;
    for (size_t p = 0; p < kParts; ++p) block.parts[p] = LoadVector(x_ + begin + p * kLanes);
    return block;
  }

  HWY_INLINE SpanSum SumAll(size_t begin) const {
    return kept_ == nullptr ? SumSpan<false>(begin, kNone) : SumSpan<true>(begin, kNone);
  }

  /// Sums the span from `begin`, without class `without`.
  template <bool kKeep>
  HWY_INLINE SpanSum SumSpan(size_t begin, size_t without) const {
    const D d;
    const ScaledExp exp = exp_;
    LaneSums sums;
    V max[kParts];
    for (V& part : max) part = hn::Set(d, -std::numeric_limits<float>::infinity());
    const size_t end = std::min(begin + kSpan, classes_);
    const bool all = without - begin >= kSpan;
    const T* const x = x_;
    size_t i = begin;
    for (; all && i + kChunk <= end; i += kChunk) {
      PrefetchAhead<kChunk>(x + i);
      for (size_t p = 0; p < kParts; ++p) {
        const T* from = x + i + p * kLanes;
        V e[4] = {LoadVector(from), LoadVector(from + kBlock), LoadVector(from + 2 * kBlock),
                  LoadVector(from + 3 * kBlock)};
        max[p] = hn::Max(max[p], hn::Max(hn::Max(e[0], e[1]), hn::Max(e[2], e[3])));
        AddChunk<kKeep>(exp, i, p, e, &sums);
      }
    }
    for (; i < end; i += kChunk) AddWithCare<kKeep>(i, without, &sums, max);
    SpanSum span;
    sums.StoreTo(span.lanes);
    for (size_t p = 0; p < kParts; ++p) hn::Store(max[p], d, span.maxima + p * kLanes);
    for (size_t p = 1; p < kParts; ++p) max[0] = hn::Max(max[0], max[p]);
    span.max = hn::GetLane(hn::MaxOfLanes(d, max[0]));
    return span;
  }

  /// Adds the exponentials of part p of a chunk, whose vectors lie a block apart. Each exponential
  /// is power (1 + x). The powers are added in pairs in float32. The products x power, less than
  /// 0.0443 of the powers, are added in float32 too, and both sums in double. An exponential itself
  /// is never rounded.
  template <bool kKeep>
  HWY_INLINE void AddChunk(const ScaledExp& exp, size_t begin, size_t p, V (&x)[4],
                           LaneSums* sums) const {
    V power[4];
    exp.Split(x, power);
    if (kKeep) {
      float* const to = kept_ + begin + p * kLanes;
      for (size_t j = 0; j < 4; ++j) {
        hn::Store(FusedMulAdd(x[j], power[j], power[j]), D(), to + j * kBlock);
      }
    }
    V rest = hn::Mul(x[0], power[0]);
    for (size_t j = 1; j < 4; ++j) rest = FusedMulAdd(x[j], power[j], rest);
    sums->Add(p, hn::Add(power[0], power[1]));
    sums->Add(p, hn::Add(power[2], power[3]));
    sums->Add(p, rest);
  }

  /// Adds a chunk that may reach beyond the row's end or contain the class to leave out.
  template <bool kKeep>
  HWY_INLINE void AddWithCare(size_t begin, size_t without, LaneSums* sums, V* max) const {
    const D d;
    const V lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
    Block blocks[4];
    for (size_t j = 0; j < 4; ++j) {
      const size_t at = begin + j * kBlock;
      for (V& part : blocks[j].parts) part = lowest;
      if (at < classes_) blocks[j] = LoadAt(at);
      for (size_t p = 0; p < kParts; ++p) max[p] = hn::Max(max[p], blocks[j].parts[p]);
      if (without - at < kBlock) ClearLane(without - at, &blocks[j]);
    }
    for (size_t p = 0; p < kParts; ++p) {
      V e[4] = {blocks[0].parts[p], blocks[1].parts[p], blocks[2].parts[p], blocks[3].parts[p]};
      AddChunk<kKeep>(exp_, begin, p, e, sums);
    }
  }

  static void ClearLane(size_t lane, Block* block) {
    const D d;
    HWY_ALIGN float lanes[kBlock];
    for (size_t p = 0; p < kParts; ++p) hn::Store(block->parts[p], d, lanes + p * kLanes);
    lanes[lane] = -std::numeric_limits<float>::infinity();
    for (size_t p = 0; p < kParts; ++p) block->parts[p] = hn::Load(d, lanes + p * kLanes);
  }

  /// The exponential as a row's sum adds it.
  HWY_INLINE float ExponentialOf(float x) const {
    V e[1] = {hn::Set(D(), x)};
    exp_.Apply(e);
    return hn::GetLane(e[0]);
  }

  /// The sum of all exponentials but one of the maximum's. If the others weigh more, the maximum's
  /// class need not be searched for: its lane is enough, and the rounding error of its pair is
  /// small beside the others.
  HWY_INLINE double SumOfOthers() const {
    const size_t lane = LaneOfMaximum();
    HWY_ALIGN double lanes[kBlock];
    for (size_t i = 0; i < kBlock; ++i) lanes[i] = best_.lanes[i] + total_[i];
    const auto own = static_cast<double>(ExponentialOf(best_.max));
    lanes[lane] = (best_.lanes[lane] - own) + total_[lane];
    const double rest = AddLanes(lanes);
    if (HWY_LIKELY(!(rest < own * 4.0))) return rest;
    return SumWithoutMaximum(own);
  }

  HWY_INLINE size_t LaneOfMaximum() const {
    const D d;
    const V max = hn::Set(d, best_.max);
    size_t lane = 0;
    for (size_t p = kParts; p-- > 0;) {
      const auto own = hn::Eq(hn::Load(d, best_.maxima + p * kLanes), max);
      const auto found = hn::FindFirstTrue(d, own);
      lane = found < 0 ? lane : p * kLanes + static_cast<size_t>(found);
    }
    return lane;
  }

  /// Sums again, without the maximum, the four classes that were added with it, so that its partner
  /// in a pair has all its bits. If the remainder is tiny, sums the whole span again.
  HWY_NOINLINE double SumWithoutMaximum(double own) const {
    const size_t at = FindMaximum();
    const size_t first = best_begin_ + (at - best_begin_) / kChunk * kChunk + at % kBlock;
    const size_t lane = at % kBlock;
    HWY_ALIGN double lanes[kBlock];
    for (size_t i = 0; i < kBlock; ++i) lanes[i] = best_.lanes[i] + total_[i];
    const double others = best_.lanes[lane] - SumOfFour(first, kNone);
    lanes[lane] = (others + SumOfFour(first, at)) + total_[lane];
    const double rest = AddLanes(lanes);
    if (rest >= own * 0x1p-22) return rest;
    const SpanSum span = SumSpan<false>(best_begin_, at);
    for (size_t i = 0; i < kBlock; ++i) lanes[i] = span.lanes[i] + total_[i];
    return AddLanes(lanes);
  }

  /// The sum that a chunk's classes first, first + 16, ... add to their lane, without class
  /// `without`.
  HWY_INLINE double SumOfFour(size_t first, size_t without) const {
    V x[4];
    for (size_t j = 0; j < 4; ++j) {
      const size_t at = first + j * kBlock;
      float logit = -std::numeric_limits<float>::infinity();
      if (at < classes_ && at != without) {
        logit = static_cast<float>(Widen(LoadRaw<T>(reinterpret_cast<const std::byte*>(x_ + at))));
      }
      x[j] = hn::Set(D(), logit);
    }
    LaneSums sums;
    AddChunk<false>(exp_, 0, 0, x, &sums);
    HWY_ALIGN double lanes[kBlock];
    sums.StoreTo(lanes);
    return lanes[0];
  }

  const T* x_ = nullptr;
  size_t classes_ = 0;
  float* kept_ = nullptr;
  Companion* companion_ = nullptr;
  float reference_ = 0;
  int32_t exponent_ = 0;
  ScaledExp exp_;
  HWY_ALIGN double total_[kBlock];
  SpanSum best_;
  size_t best_begin_ = 0;
};

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_FLOAT_ROW_INL_H_
