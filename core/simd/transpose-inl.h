// Transposes elements of 2, 4 or 8 bytes of any type; compiled once for each instruction set.

#if defined(LOSSD_CORE_SIMD_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_SIMD_TRANSPOSE_INL_H_
#undef LOSSD_CORE_SIMD_TRANSPOSE_INL_H_
#else
#define LOSSD_CORE_SIMD_TRANSPOSE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/simd/constants.h"
#include "core/simd/stream-inl.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Rows and columns of a block that vectors of 16 bytes hold.
template <typename T>
inline constexpr size_t kTransposed = HWY_TARGET == HWY_SCALAR ? 1 : 16 / sizeof(T);

/// Transposes a block of as many rows as a vector has lanes. Interleaving the first half of the
/// rows with the second is a perfect shuffle of all elements; log2(rows) shuffles transpose them.
template <typename T>
HWY_INLINE void TransposeBlock(const T* from, size_t from_step, T* to, size_t to_step) {
  constexpr size_t kSize = kTransposed<T>;
  const hn::CappedTag<T, kSize> d;
  using Vector = hn::Vec<decltype(d)>;
  Vector rows[kSize];
  for (size_t i = 0; i < kSize; ++i) rows[i] = hn::LoadU(d, from + i * from_step);
#if HWY_TARGET != HWY_SCALAR
  for (size_t width = 1; width < kSize; width *= 2) {
    Vector shuffled[kSize];
    for (size_t i = 0; i < kSize / 2; ++i) {
      shuffled[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + kSize / 2]);
      shuffled[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + kSize / 2]);
    }
    for (size_t i = 0; i < kSize; ++i) rows[i] = shuffled[i];
  }
#endif
  for (size_t i = 0; i < kSize; ++i) {
    hn::StoreU(rows[i], d, to + i * to_step);
  }
}

/// Calls block(begin) for blocks of kSize. If `count` is no multiple of kSize, the last block
/// begins early and overlaps the one before. REQUIRES: count >= kSize.
template <size_t kSize, typename Block>
HWY_INLINE void ForBlocks(size_t count, const Block& block) {
  for (size_t next = 0; next < count; next += kSize) {
    block(next + kSize <= count ? next : count - kSize);
  }
}

/// Transposes [rows, columns], with `from_step` elements from row to row, into [columns, rows],
/// with `to_step`. The rows of `from` are read one after the other.
template <typename T>
HWY_INLINE void Transpose(const T* from, size_t rows, size_t columns, size_t from_step, T* to,
                          size_t to_step) {
  constexpr size_t kSize = kTransposed<T>;
  if (rows < kSize || columns < kSize) {
    for (size_t c = 0; c < columns; ++c) {
      for (size_t r = 0; r < rows; ++r) {
        std::memcpy(to + c * to_step + r, from + r * from_step + c, sizeof(T));
      }
    }
    return;
  }
  ForBlocks<kSize>(rows, [&](size_t r) {
    ForBlocks<kSize>(columns, [&](size_t c) {
      TransposeBlock(from + r * from_step + c, from_step, to + c * to_step + r, to_step);
    });
  });
}

/// Transposes classes far apart, [classes, count] with `step` from class to class, into rows,
/// [count, classes] with `row_step` from row to row.
template <typename T>
HWY_INLINE void GatherRows(const T* from, size_t step, size_t classes, size_t count, T* rows,
                           size_t row_step) {
  constexpr size_t kSize = kTransposed<T>;
  constexpr size_t kLine = 64 / sizeof(T);
  // Each class lies on another page, which no hardware prefetcher reaches. Few classes are
  // prefetched, because classes a power of two apart fall on the same sets of the caches. A
  // prefetch never faults.
  constexpr size_t kClassesAhead = 8;
  if (classes < kSize || count < kSize) {
    return Transpose(from, classes, count, step, rows, row_step);
  }
  ForBlocks<kSize>(classes, [&](size_t c) {
    const T* x = from + c * step;
    for (size_t i = 0; i < kSize; ++i) {
      for (size_t line = 0; line < count; line += kLine) {
        hwy::Prefetch(x + (i + kClassesAhead) * step + line);
      }
    }
    ForBlocks<kSize>(
        count, [&](size_t i) { TransposeBlock(x + i, step, rows + i * row_step + c, row_step); });
  });
}

/// The reverse of GatherRows, class by class, so that cache lines are filled before others are
/// begun.
template <typename T>
HWY_INLINE void ScatterRows(const T* rows, size_t row_step, size_t classes, size_t count,
                            bool stream, T* to, size_t step) {
  constexpr size_t kSize = kTransposed<T>;
  if (classes < kSize || count < kSize) {
    return Transpose(rows, count, classes, row_step, to, step);
  }
  ForBlocks<kSize>(classes, [&](size_t c) {
    HWY_ALIGN T runs[kSize * kStridedPositions];
    T* out = stream ? runs : to + c * step;
    const size_t out_step = stream ? kStridedPositions : step;
    ForBlocks<kSize>(count, [&](size_t i) {
      TransposeBlock(rows + i * row_step + c, row_step, out + i, out_step);
    });
    for (size_t j = 0; stream && j < kSize; ++j) {
      StreamRun(runs + j * kStridedPositions, count, to + (c + j) * step);
    }
  });
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_SIMD_TRANSPOSE_INL_H_
