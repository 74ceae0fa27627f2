// Loads tiles from memory and stores them, for storage type T. Compiled once for each instruction
// set.

#if defined(LOSSD_CORE_PASSES_TILE_IO_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_TILE_IO_INL_H_
#undef LOSSD_CORE_PASSES_TILE_IO_INL_H_
#else
#define LOSSD_CORE_PASSES_TILE_IO_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/float_vec-inl.h"
#include "core/simd/stream-inl.h"
#include "core/simd/transpose-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

/// Widens a run of elements.
template <typename T>
HWY_INLINE void WidenRun(const T* from, size_t count, float* to) {
  if constexpr (std::is_same_v<T, float>) {
    std::memcpy(to, from, count * sizeof(float));
  } else {
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) hn::StoreU(LoadVector(from + i), D(), to + i);
    for (; i < count; ++i) {
      to[i] = ToFloat(LoadRaw<T>(reinterpret_cast<const std::byte*>(from + i)));
    }
  }
}

/// Rounds a run of finite elements to T and writes it, by non-temporal stores if `stream`.
template <typename T>
HWY_INLINE void NarrowRun(const float* from, size_t count, bool stream, T* to) {
  if (std::is_same_v<T, float> && !stream) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  size_t i = 0;
  const auto plain = [&](size_t end) {
    for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
      const V v[2] = {hn::LoadU(D(), from + i), hn::LoadU(D(), from + i + kLanes)};
      StoreVectors<false>(v, to + i);
    }
    for (; i + kLanes <= end; i += kLanes) StoreVector(hn::LoadU(D(), from + i), to + i);
    if (i == end) return;
    HWY_ALIGN float padded[kLanes] = {};
    HWY_ALIGN T lanes[kLanes];
    std::memcpy(padded, from + i, (end - i) * sizeof(float));
    StoreVector(hn::Load(D(), padded), lanes);
    std::memcpy(to + i, lanes, (end - i) * sizeof(T));
    i = end;
  };
  if (stream) {
    constexpr size_t kLine = 64 / sizeof(T);
    plain(ElementsToLine(to, count));
    for (; i + kLine <= count; i += kLine) {
      V v[kLine / kLanes];
      for (size_t p = 0; p < kLine / kLanes; ++p) v[p] = hn::LoadU(D(), from + i + p * kLanes);
      StoreVectors<true>(v, to + i);
    }
  }
  plain(count);
}

/// For one to three columns: the compiler makes shuffles of a constant number of them.
template <size_t kColumns, bool kToTile, typename Row>
HWY_INLINE void MoveNarrowRows(Row* rows, size_t count, float* tile, size_t step) {
  for (size_t i = 0; i < count; ++i) {
    for (size_t c = 0; c < kColumns; ++c) {
      if constexpr (kToTile) {
        tile[c * step + i] = rows[i * kColumns + c];
      } else {
        rows[i * kColumns + c] = tile[c * step + i];
      }
    }
  }
}

/// Moves rows into the tile with kToTile, out of it without.
template <bool kToTile, typename Row>
HWY_INLINE void MoveRows(Row* rows, size_t count, size_t classes, float* tile, size_t step) {
  if (classes == 1) return MoveNarrowRows<1, kToTile>(rows, count, tile, step);
  if (classes == 2) return MoveNarrowRows<2, kToTile>(rows, count, tile, step);
  if (classes == 3) return MoveNarrowRows<3, kToTile>(rows, count, tile, step);
  if constexpr (kToTile) {
    Transpose(rows, count, classes, classes, tile, step);
  } else {
    // Columns of the tile are rows in memory. Transposes four at a time and moves the others one by
    // one, because lanes beyond `count` are not stored.
    const size_t whole = count / 4 * 4;
    for (size_t i = 0; i < whole; i += 4) {
      Transpose(tile + i, classes, 4, step, rows + i * classes, classes);
    }
    for (size_t i = whole; i < count; ++i) {
      for (size_t c = 0; c < classes; ++c) rows[i * classes + c] = tile[c * step + i];
    }
  }
}

/// Whether plain loads and stores may be used at `at`.
inline bool IsAligned(const float* at) {
  return reinterpret_cast<uintptr_t>(at) % alignof(float) == 0;
}

/// Loads elements of storage type T into `to`, [classes, step] of the tile. Lanes beyond the
/// layout's positions get zeros.
template <typename T>
HWY_INLINE void LoadLanes(const std::byte* from, const TileLayout& layout, FloatTile* tile,
                          TileAhead* ahead, float* to) {
  const T* x = reinterpret_cast<const T*>(from);
  const size_t classes = tile->classes = layout.classes;
  const size_t count = tile->count = layout.count;
  const size_t step = tile->step = (count + kGroup - 1) / kGroup * kGroup;
  for (size_t c = 0; c < classes && count < step; ++c) {
    std::fill(to + c * step + count, to + (c + 1) * step, 0.0F);
  }
  if (layout.position_step == 1) {
    const size_t bytes = count * sizeof(T);
    *ahead = {from + bytes, classes, bytes, layout.class_step * sizeof(T)};
    for (size_t c = 0; c < classes; ++c) {
      WidenRun(x + c * layout.class_step, count, to + c * step);
    }
    return;
  }
  const size_t bytes = count * classes * sizeof(T);
  *ahead = {from + bytes, 1, bytes, 0};
  if constexpr (std::is_same_v<T, float>) {
    if (IsAligned(x)) return MoveRows<true>(x, count, classes, to, step);
  }
  WidenRun(x, count * classes, tile->rows);
  MoveRows<true>(tile->rows, count, classes, to, step);
}

template <typename T>
void LoadTile(const std::byte* from, const TileLayout& layout, FloatTile* tile) {
  LoadLanes<T>(from, layout, tile, &tile->ahead[0], tile->logits);
}
template <typename P>
void LoadTileTarget(const std::byte* from, const TileLayout& layout, FloatTile* tile) {
  LoadLanes<P>(from, layout, tile, &tile->ahead[1], tile->targets);
}

/// Stores the gradients of the good lanes only.
template <typename T>
void StoreGoodLanes(const TileLayout& layout, const FloatTile& tile, std::byte* to) {
  for (size_t i = 0; i < layout.count; ++i) {
    if (!tile.good[i]) continue;
    for (size_t c = 0; c < layout.classes; ++c) {
      const auto value = static_cast<double>(tile.gradients[c * tile.step + i]);
      StoreRaw(to + (c * layout.class_step + i * layout.position_step) * sizeof(T),
               Narrow<T>(value));
    }
  }
}

template <typename T>
void StoreTile(const TileLayout& layout, bool stream, FloatTile* tile, std::byte* to) {
  if (!tile->all_good) return StoreGoodLanes<T>(layout, *tile, to);
  T* out = reinterpret_cast<T*>(to);
  if (layout.position_step == 1) {
    for (size_t c = 0; c < layout.classes; ++c) {
      NarrowRun(tile->gradients + c * tile->step, layout.count, stream,
                out + c * layout.class_step);
    }
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (!stream && IsAligned(out)) {
      return MoveRows<false>(out, layout.count, layout.classes, tile->gradients, tile->step);
    }
  }
  MoveRows<false>(tile->rows, layout.count, layout.classes, tile->gradients, tile->step);
  NarrowRun(tile->rows, layout.count * layout.classes, stream, out);
}

/// GatherRows for elements of T's size at any alignment.
template <typename T>
void GatherElements(const std::byte* from, size_t step, size_t classes, size_t count,
                    std::byte* rows, size_t row_step) {
  using Bits = hwy::UnsignedFromSize<sizeof(T)>;
  GatherRows(reinterpret_cast<const Bits*>(from), step, classes, count,
             reinterpret_cast<Bits*>(rows), row_step);
}

template <typename T>
void ScatterElements(const std::byte* rows, size_t row_step, size_t classes, size_t count,
                     bool stream, std::byte* to, size_t step) {
  using Bits = hwy::UnsignedFromSize<sizeof(T)>;
  ScatterRows(reinterpret_cast<const Bits*>(rows), row_step, classes, count, stream,
              reinterpret_cast<Bits*>(to), step);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_TILE_IO_INL_H_
