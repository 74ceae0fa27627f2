// What a row adds up to in float32 arithmetic, compiled once for each instruction set.
//
// A row is read from memory once: the pass that finds the maximum already sums the exponentials,
// relative to a reference that the row's first 64 logits give. On a Zen 3 with AVX2, one thread, 64
// million logits in rows of 8,192 and of 128,256, this took 0.80 and 0.75 of the time of a maximum
// pass over blocks of 16 KiB followed by their sum, and 0.79 and 0.68 of a maximum pass over the
// row.

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

constexpr size_t kSpan = 16 * kChunk;  ///< Classes whose sum and maximum are kept apart.
constexpr float kRange = 1024.0F;      ///< Greatest |maximum| that is served here.

/// Sums of a span of classes, by virtual lanes.
struct SpanSum {
  HWY_ALIGN double lanes[kBlock];
  HWY_ALIGN float maxima[kBlock];
  float max;
};

/// A companion accumulates further sums in the same pass: AddSpan(begin, end, top) is called once
/// for each span, in order, while the span lies in the first-level cache. `top` is the maximum so
/// far, if not far below 0. This one accumulates nothing.
struct NoCompanion {
  HWY_INLINE void AddSpan(size_t /*begin*/, size_t /*end*/, float /*top*/) {}
};

/// One row of storage type T: Begin, Sum, Finish. Each is for all rows that are analyzed together
/// before the next: what comes before and after a row's sum are chains of dependent operations, and
/// those of several rows overlap.
template <typename T, typename Companion>
class FloatRow {
 public:
  HWY_INLINE FloatRow() {}  // NOLINT(modernize-use-equals-default): as Block's.

  /// `kept`, if not null, gets the exponentials; then the row is one span.
  HWY_INLINE void Begin(const T* x, size_t classes, float* kept, Companion* companion) {
    x_ = x;
    classes_ = classes;
    kept_ = kept;
    companion_ = companion;
    // Not by std::fill, of which GCC makes a string instruction: 3 % of a row of 1,000 classes.
    const LaneSums none;
    none.StoreTo(total_);
    none.StoreTo(best_.lanes);
    best_.max = -std::numeric_limits<float>::infinity();
    SetReference(MaxOfFirst());
  }

  /// Sums all spans, as far as the maximum is not out of range.
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
      // The span that holds the maximum stays out of the total, so that the maximum can be left out
      // of few terms and not be subtracted from many.
      if (span.max > best_.max) {
        AddToTotal(best_);
        best_ = span;
        best_begin_ = begin;
      } else {
        AddToTotal(span);
      }
    }
  }

  /// Not in range where a logit is NaN or the maximum is out of range.
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

  /// Lowest index of the maximum. REQUIRES: that Finish found the row in range.
  [[nodiscard]] size_t FindMaximum() const {
    return FindFrom(x_, best_begin_, classes_, best_.max);
  }

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  /// Of the row's first chunk, within the range; whatever it may be where a logit is NaN.
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

  /// A new reference; scaling by a power of two rounds nothing that could matter.
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

  /// The span from `begin`, leaving class `without` out of the sum.
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

  /// Adds the exponentials of part p of a chunk, its vectors lying a block apart. Each is power
  /// (1 + x): powers are added in pairs in float32, what x adds to them, less than 0.0443 of it, in
  /// float32 too, and both in double. An exponential itself is never rounded.
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

  /// A chunk that may reach beyond the row's end or hold the class to leave out.
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

  /// As a row's sum adds it.
  HWY_INLINE float ExponentialOf(float x) const {
    V e[1] = {hn::Set(D(), x)};
    exp_.Apply(e);
    return hn::GetLane(e[0]);
  }

  /// The sum of all exponentials but one of the maximum's. Which class has it takes no search where
  /// the others weigh more: its lane is enough, and what rounding it in a pair lost is little
  /// beside them.
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

  /// The four classes that were added up with the maximum are added up again without it, so that
  /// its partner in a pair has all its bits; where the remainder is tiny, the whole span is.
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

  /// What a chunk's classes first, first + 16, ... add to their lane, leaving out class `without`.
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
