// Writes a row of gradients to memory; compiled once for each instruction set.

#if defined(LOSSD_CORE_PASSES_GRADIENT_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_GRADIENT_ROW_INL_H_
#undef LOSSD_CORE_PASSES_GRADIENT_ROW_INL_H_
#else
#define LOSSD_CORE_PASSES_GRADIENT_ROW_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/stream-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// Writes the values that `Source` makes for the classes, except for given entries. A source has
///   template <size_t kCount> void Make(size_t begin, V (&)[kCount]) const: classes from `begin`,
///   Block MakePartial(size_t begin, size_t count) const: fewer than sixteen of them,
/// finite float32 values that are yet to be rounded to storage type T.
template <typename T, typename Source>
class GradientRow {
 public:
  GradientRow(const Source& source, T* to) : source_(source), to_(to) {}

  /// With `stream`, non-temporal stores write whole cache lines. The entries are put into their
  /// lines before these are written: an ordinary store after a non-temporal one waited for memory,
  /// which took most of the time of rows of 150 classes and a third of the time of rows of 1,000.
  HWY_INLINE void Write(size_t classes, bool stream, const GradientEntries& entries) const {
    const size_t head = stream ? ElementsToLine(to_, classes) : classes;
    const size_t lines_end = head + (classes - head) / kLine * kLine;
    Plain(0, head);
    size_t done = head;
    for (size_t i = 0; i < entries.count; ++i) {
      const size_t at = entries.at[i];
      // Entries are in the order of their classes; two may share a line.
      if (at < done || at >= lines_end) continue;
      const size_t line = head + (at - head) / kLine * kLine;
      Lines(done, line);
      LineWith(line, entries);
      done = line + kLine;
    }
    Lines(done, lines_end);
    Plain(lines_end, classes);
    for (size_t i = 0; i < entries.count; ++i) {
      const size_t at = entries.at[i];
      if (at >= head && at < lines_end) continue;
      StoreRaw(reinterpret_cast<std::byte*>(to_ + at), Narrow<T>(entries.value[i]));
    }
  }

 private:
  static constexpr size_t kLine = 64 / sizeof(T);

  /// Writes classes [begin, end) by ordinary stores.
  HWY_INLINE void Plain(size_t begin, size_t end) const {
    size_t i = begin;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes) Store<false, 4>(i);
    for (; i + kLanes <= end; i += kLanes) Store<false, 1>(i);
    if (i < end) StorePartial(source_.MakePartial(i, end - i), end - i, to_ + i);
  }

  /// Writes classes [begin, end) by non-temporal stores of whole cache lines. REQUIRES: to_ + begin
  /// is at the start of a line, and end - begin is a multiple of a line.
  HWY_INLINE void Lines(size_t begin, size_t end) const {
    constexpr size_t kVectors = kLine / kLanes;
    size_t i = begin;
    if constexpr (kVectors < 4) {
      for (; i + 4 * kLanes <= end; i += 4 * kLanes) Store<true, 4>(i);
    }
    for (; i < end; i += kLine) Store<true, kVectors>(i);
  }

  /// Writes the line from `begin`, with the entries in it.
  HWY_INLINE void LineWith(size_t begin, const GradientEntries& entries) const {
    HWY_ALIGN T line[kLine];
    for (size_t i = 0; i < kLine; i += kLanes) {
      V v[1];
      source_.Make(begin + i, v);
      StoreVector(v[0], line + i);
    }
    for (size_t i = 0; i < entries.count; ++i) {
      const size_t at = entries.at[i];
      if (at >= begin && at < begin + kLine) line[at - begin] = Narrow<T>(entries.value[i]);
    }
    // Already rounded, so moved as bytes.
    StreamRun(reinterpret_cast<const uint8_t*>(line), sizeof(line),
              reinterpret_cast<uint8_t*>(to_ + begin));
  }

  template <bool kStream, size_t kVectors>
  HWY_INLINE void Store(size_t at) const {
    V v[kVectors];
    source_.Make(at, v);
    StoreVectors<kStream>(v, to_ + at);
  }

  Source source_;
  T* to_;
};

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_GRADIENT_ROW_INL_H_
