// Rows of more than 64 classes whose mass lies on one class, in float32 arithmetic; compiled once
// for each instruction set.
//
// For the gradient, exponentials of up to 1,024 classes are kept, while the first-level cache has
// them. This took 0.92 of the time of computing them again with 1,000 classes, 0.88 with 70, on a
// Zen 3 with AVX2 and two threads. Exponentials of more classes are computed again, which needs no
// second write. With one thread and rows of 8,192 and of 128,256 classes, this took 0.90 and 1.06
// of the time of storing them in the sum's pass and scaling them in place, if stores are
// non-temporal; with ordinary stores 1.01 and 1.13.

#if defined(LOSSD_CORE_PASSES_INDEX_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_INDEX_ROW_INL_H_
#undef LOSSD_CORE_PASSES_INDEX_ROW_INL_H_
#else
#define LOSSD_CORE_PASSES_INDEX_ROW_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "core/passes/float_row-inl.h"
#include "core/passes/gradient_row-inl.h"
#include "core/passes/row_kernels.h"
#include "core/simd/float_vec-inl.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// factor exp(x_c): the gradient of a class index, except for the label's own entry.
template <typename T>
class IndexGradientSource {
 public:
  IndexGradientSource(const T* x, const FloatRowStats& stats, float factor)
      : x_(x), exp_(stats.max, stats.max_exponent), factor_(hn::Set(D(), factor)) {}

  template <size_t kCount>
  HWY_INLINE void Make(size_t begin, V (&v)[kCount]) const {
    for (size_t p = 0; p < kCount; ++p) v[p] = LoadVector(x_ + begin + p * kLanes);
    exp_.ApplyTimes(factor_, v);
  }

  HWY_INLINE Block MakePartial(size_t begin, size_t count) const {
    Block block = LoadPartial(x_ + begin, count);
    exp_.ApplyTimes(factor_, block.parts);
    return block;
  }

 private:
  const T* x_;
  ScaledExp exp_;
  V factor_;
};

/// The same from exponentials that the sum's pass kept.
class KeptGradientSource {
 public:
  KeptGradientSource(const float* kept, float factor)
      : kept_(kept), factor_(hn::Set(D(), factor)) {}

  template <size_t kCount>
  HWY_INLINE void Make(size_t begin, V (&v)[kCount]) const {
    for (size_t p = 0; p < kCount; ++p) {
      v[p] = hn::Mul(hn::LoadU(D(), kept_ + begin + p * kLanes), factor_);
    }
  }

  HWY_INLINE Block MakePartial(size_t begin, size_t /*count*/) const {
    Block block;
    Make(begin, block.parts);
    return block;
  }

 private:
  const float* kept_;
  V factor_;
};

template <typename T>
HWY_INLINE void WriteKeptGradient(const KeptGradients& due, size_t i, size_t classes) {
  GradientRow<T, KeptGradientSource>(KeptGradientSource(due.kept[i], due.factors[i]),
                                     reinterpret_cast<T*>(due.to[i]))
      .Write(classes, due.stream, due.entries[i]);
}

template <typename T>
void WriteKeptGradients(const KeptGradients& due, size_t classes) {
  for (size_t i = 0; i < due.count; ++i) WriteKeptGradient<T>(due, i, classes);
}

template <typename T>
void AnalyzeFloatRows(const std::byte* const* rows, size_t count, size_t classes, float* kept,
                      const KeptGradients* due, FloatRowStats* stats) {
  RowSum sums[kRowsTogether];
  FloatRow<T, NoCompanion> parts[kRowsTogether];
  NoCompanion none;
  for (size_t i = 0; i < count; ++i) {
    const T* x = reinterpret_cast<const T*>(rows[i]);
    float* to = kept == nullptr ? nullptr : kept + i * KeptStep(classes);
    parts[i].Begin(x, classes, to, &none);
    // Prefetches what Begin will read of the next rows, which usually follow these: 0.95 of the
    // time of waiting for it there.
    const auto* next = reinterpret_cast<const std::byte*>(x + count * classes);
    for (size_t at = 0; at < kChunk * sizeof(T); at += 64) hwy::Prefetch(next + at);
  }
  const size_t left = due == nullptr ? 0 : due->count;
  for (size_t i = 0; i < std::max(count, left); ++i) {
    if (i < count) parts[i].Sum();
    if (i < left) WriteKeptGradient<T>(*due, i, classes);
  }
  for (size_t i = 0; i < count; ++i) sums[i] = parts[i].Finish();
  if (count == 1) {
    const RowSum one[1] = {sums[0]};
    FloatRowStats result[1];
    FinishRows(one, result);
    *stats = result[0];
    return;
  }
  FloatRowStats results[kRowsTogether];
  FinishRows(sums, results);
  std::copy(results, results + count, stats);
}

template <typename T>
size_t FindLogit(const std::byte* x, size_t classes, float logit) {
  return FindFrom(reinterpret_cast<const T*>(x), 0, classes, logit);
}

template <typename T>
void WriteIndexGradient(const std::byte* x, size_t classes, const FloatRowStats& stats,
                        float factor, const GradientEntries& entries, bool stream, std::byte* out) {
  const IndexGradientSource<T> source(reinterpret_cast<const T*>(x), stats, factor);
  GradientRow<T, IndexGradientSource<T> >(source, reinterpret_cast<T*>(out))
      .Write(classes, stream, entries);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_INDEX_ROW_INL_H_
