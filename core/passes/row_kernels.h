// Passes over rows of logits: the interface, which knows no instruction set.
//
// There are two families. The passes in float32 arithmetic serve float32 and half types: rows of
// more than 64 classes one at a time, narrower rows in tiles of many positions. The passes in
// double serve float64, and rows out of float32's range. The arithmetic of both is fixed, so that
// all instruction sets give the same bits: virtual lanes whatever the machine has (sixteen float32,
// eight double), one fused multiply-add for each that is written, fixed trees, and no library
// functions but fma.
//
// Rows are bytes of the storage type that the kernels were fetched for, at any alignment.
#ifndef LOSSD_CORE_PASSES_ROW_KERNELS_H_
#define LOSSD_CORE_PASSES_ROW_KERNELS_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/problem/dtype.h"
#include "core/simd/constants.h"

namespace lossd {

/// Facts about a row from the passes in float32.
struct FloatRowStats {
  bool in_range = false;  ///< False for NaN, +inf, all -inf, |max| > 1024; the rest is unset then.
  float max = 0;
  double tail = 0;           ///< Sum of exp(x_c - max) over all classes but one of the maximum.
  double log_norm = 0;       ///< log(1 + tail)
  double kept_scale = 1;     ///< Makes kept exponentials relative to 2^max_exponent.
  double max_mantissa = 1;   ///< exp(max) 2^-max_exponent kExpFactor.
  int32_t max_exponent = 0;  ///< Exponentials are relative to 2 to this power.
};

/// The most rows that are analyzed together. A long chain of scalar operations follows each row's
/// sum; vectors do those of several rows at once.
inline constexpr size_t kRowsTogether = 4;
/// The number of rows to analyze together, so that a first-level cache still has them when their
/// gradients are computed.
constexpr size_t RowsTogether(size_t row_bytes) {
  constexpr size_t kBytes = size_t{16} << 10U;
  const size_t fit = kBytes / row_bytes;
  return fit < 1 ? 1 : (fit < kRowsTogether ? fit : kRowsTogether);
}

/// Rows of at most this many classes can keep their exponentials for the gradient: a first-level
/// cache holds them beside the row, and the row is one span of the sum.
inline constexpr size_t kKeptClasses = 1024;
/// From a row's kept exponentials to the next row's; the last 64 may reach beyond the row. Not a
/// power of two, because rows would then fall on the same sets of the cache.
constexpr size_t KeptStep(size_t classes) { return (classes / 64 + 1) * 64 + 16; }

/// Gradients of rows of at least this many bytes, if stored non-temporally, are written beside the
/// sums of the rows after them. These sums then wait less for memory. This took 0.92 of the time
/// with 1,000 classes of float32, but 1.01 with 300, 1.11 with 150, and 1.01 with 1,000 classes of
/// bfloat16.
inline constexpr size_t kLateBytes = 2048;

/// Facts about a row and its masses from the passes in float32.
struct SoftRowStats {
  FloatRowStats row;
  int64_t argmax = 0;         ///< Lowest index of the maximum.
  double below = 0;           ///< Sum of m_c (max - x_c) without zero masses.
  double total = 0;           ///< Sum of m_c.
  int64_t target_argmax = 0;  ///< Lowest index of the largest probability; NaN is none.
};

/// Entries of a gradient that the passes do not compute, not yet rounded to the storage type. They
/// are in the order of their classes, no class twice.
struct GradientEntries {
  size_t count = 0;
  size_t at[2] = {};
  double value[2] = {};
};

/// Gradients of rows whose exponentials are kept: out[c] = RN(factor kept[c]), except for the
/// entries.
struct KeptGradients {
  size_t count = 0;
  bool stream = false;
  const float* kept[kRowsTogether] = {};
  float factors[kRowsTogether] = {};
  GradientEntries entries[kRowsTogether];
  std::byte* to[kRowsTogether] = {};
};

/// Bounds within which a gradient's factor is exact to an ulp in float32, keeps products in range,
/// and makes its product with the stand-in for exp(-inf) vanish.
inline constexpr double kLeastFactor = 0x1p-120;
inline constexpr double kGreatestFactor = 0x1p-31;
inline bool FactorFits(double factor) {
  return factor == 0.0 || (std::abs(factor) > kLeastFactor && std::abs(factor) < kGreatestFactor);
}

/// If the tail is smaller, the maximum's probability is so near 1 that the rounded product of
/// factor and exponential, some 3 ulp off, could exceed 1. The probability is then taken from the
/// tail.
inline constexpr double kSmallTail = 0x1p-20;

/// Positions that are evaluated at once if classes are few, one in each lane.
inline constexpr size_t kGroup = 16;
/// Rows of at most this many classes are evaluated in tiles, others by themselves. A row's results
/// must not depend on its layout in memory, so the number of classes alone decides.
inline constexpr size_t kMaxTileClasses = 64;
/// The most logits of a tile, and the most positions: about half of a first-level cache. Half of
/// that, with runs of 384 bytes for each of 19 classes, took 1.3 times as long at (2,19,512,1024).
/// Not 256 positions, because classes would then lie a power of two apart, on the same sets of the
/// cache.
inline constexpr size_t kTileElements = 4096;
inline constexpr size_t kTilePositions = 240;

/// The positions of a tile of rows of this many classes: whole groups.
constexpr size_t TilePositions(size_t classes) {
  const size_t fit = kTileElements / classes / kGroup * kGroup;
  return fit < kTilePositions ? fit : kTilePositions;
}

/// The positions of strided classes that part of a second-level cache holds; at least a cache line
/// of float32.
constexpr size_t StridedPositions(size_t row_bytes) {
  constexpr size_t kTileBytes = size_t{256} << 10U;
  const size_t fit = kTileBytes / row_bytes / kGroup * kGroup;
  return fit < kGroup ? kGroup : (fit < kStridedPositions ? fit : kStridedPositions);
}

/// The layout of a tile in memory: element (class c, position i) is at c * class_step + i *
/// position_step, in elements.
struct TileLayout {
  size_t classes = 0;
  size_t count = 0;  ///< Positions, 1 to TilePositions(classes).
  size_t class_step = 1;
  size_t position_step = 1;
};

/// The memory that the next tile will be read from: runs of bytes.
struct TileAhead {
  const std::byte* from = nullptr;
  size_t runs = 0;
  size_t run_bytes = 0;
  size_t run_step = 0;  ///< Bytes from the start of a run to that of the next.
};

/// Positions with the classes as the outer axis: [classes, at most kTilePositions].
struct FloatTile {
  size_t classes = 0;
  size_t count = 0;  ///< Positions.
  size_t step = 0;   ///< Positions from a class to the next: `count` rounded up to whole groups.
  bool gradient = false;                 ///< Whether the gradient is wanted.
  bool logs = false;                     ///< Whether negative_logs and log_sum_exps are wanted.
  const double* class_weight = nullptr;  ///< Values of float32; null if all are 1.
  // If masses lie on many classes, the mass of a class is w_c (unsmoothed t_c + smooth).
  bool probabilities = false;  ///< Whether `targets` are given. If not, t_c = 0, and the label has
                               ///< a mass of its own, unsmoothed w_y.
  double unsmoothed = 1;
  double smooth = 0;
  double spread = 0;                           ///< smooth times the sum of weights.
  TileAhead ahead[2];                          ///< For logits and for targets.
  alignas(64) float logits[kTileElements];     ///< [classes, step]; unused lanes are finite.
  alignas(64) float targets[kTileElements];    ///< Likewise.
  alignas(64) int32_t labels[kTilePositions];  ///< -1 if there is none. With probabilities a
                                               ///< result: the first index of the largest.
  alignas(64) float scales[kTilePositions];    ///< The scale s_n of each position's gradient.
  // Results.
  alignas(64) float gradients[kTileElements];        ///< [classes, step]
  alignas(64) float losses[kTilePositions];          ///< Weighted and rounded; 0 without a label.
  alignas(64) double negative_logs[kTilePositions];  ///< -l_y; not if masses lie on many classes.
  alignas(64) double log_norms[kTilePositions];      ///< log(1 + tail), for masses on many classes.
  alignas(64) double log_sum_exps[kTilePositions];
  alignas(64) int32_t argmax[kTilePositions];  ///< Lowest index of the maximum.
  bool good[kTilePositions];  ///< If false, needs the passes in double, and its results are void.
  bool all_good = false;      ///< Whether all lanes are good.
  bool summed = false;        ///< Whether all losses are in `loss_units`.
  __int128 loss_units = 0;    ///< Exact sum of the losses in units of 2^kLossUnit.
  // Room for rows as they lie in memory.
  alignas(64) float rows[kTileElements];
};

/// FloatTile::loss_units counts units of 2^kLossUnit. Losses of magnitudes 2^-29 to 2^16 are
/// multiples of the unit.
inline constexpr int kLossUnit = -52;

/// A larger weight could lift the stand-in for exp(-inf) into the last place of a float32 loss.
inline double GreatestWeight(size_t classes) { return 0x1p33 / static_cast<double>(classes); }

/// Facts about a row from the passes in double.
struct WideRowStats {
  double max = 0;
  double tail = 0;      ///< Sum of exp(x_c - max) kWideScale over all classes but `argmax`.
  double log_norm = 0;  ///< log(sum_c exp(x_c - max)).
  int64_t argmax = 0;   ///< Lowest index of the maximum.
  bool valid = false;   ///< False if a logit is +inf or NaN, or all are -inf.
};

/// The masses of a row's classes: m_c = w_c (unsmoothed t_c + smooth), or w_c smooth without t.
struct MassSource {
  const std::byte* probabilities = nullptr;  ///< Of the target's storage type; may be null.
  const double* weight = nullptr;            ///< Null: all 1.
  double unsmoothed = 1.0;
  double smooth = 0.0;
};

/// Passes for the instruction set of this machine and one pair of storage types.
struct RowKernels {
  // Passes in float32. Null for float64.
  /// Analyzes `count` rows, at most kRowsTogether. `kept`, if not null, gets their exponentials:
  /// KeptStep floats for each row, 64-byte aligned. REQUIRES: classes is at most kKeptClasses if
  /// `kept` is not null. `due`, if not null, holds gradients of earlier rows. They are written
  /// beside the sums, because stores wait for memory and additions do not.
  void (*analyze)(const std::byte* const* rows, size_t count, size_t classes, float* kept,
                  const KeptGradients* due, FloatRowStats* stats);
  /// The lowest index of a logit; `classes` if there is none.
  size_t (*find)(const std::byte* x, size_t classes, float logit);
  /// out[c] = RN(factor exp(x_c) 2^(61 - max_exponent) kExpFactor), except for the entries. `out`
  /// is of the same storage type and may be `x`. `stream` asks for non-temporal stores. REQUIRES:
  /// `stats` is in range.
  void (*index_gradient)(const std::byte* x, size_t classes, const FloatRowStats& stats,
                         float factor, const GradientEntries& entries, bool stream, std::byte* out);
  /// The same from kept exponentials, at once instead of beside the sums of later rows.
  void (*kept_gradients)(const KeptGradients& due, size_t classes);
  /// Analyzes a row with masses on many classes. The result is valid only if the row is in range
  /// and `total` is finite.
  SoftRowStats (*analyze_soft)(const std::byte* x, size_t classes, const MassSource& masses);
  /// out[c] = RN(factor exp(x_c) 2^(61 - max_exponent) kExpFactor - scale m_c), except for the
  /// entries; otherwise as index_gradient.
  void (*soft_gradient)(const std::byte* x, size_t classes, const FloatRowStats& stats,
                        double factor, double scale, const MassSource& masses,
                        const GradientEntries& entries, bool stream, std::byte* out);
  void (*load_tile)(const std::byte* from, const TileLayout& layout, FloatTile* tile);
  void (*load_tile_target)(const std::byte* from, const TileLayout& layout, FloatTile* tile);
  void (*evaluate_tile)(FloatTile* tile);
  void (*evaluate_soft_tile)(FloatTile* tile);
  /// Writes the gradients of the good positions.
  void (*store_tile)(const TileLayout& layout, bool stream, FloatTile* tile, std::byte* to);

  // For strided classes: transpose [classes, count] elements, `step` from class to class, into rows
  // of classes, `row_step` from row to row, and back. For the input's type and the target's.
  void (*gather)(const std::byte* from, size_t step, size_t classes, size_t count, std::byte* rows,
                 size_t row_step);
  void (*gather_target)(const std::byte* from, size_t step, size_t classes, size_t count,
                        std::byte* rows, size_t row_step);
  void (*scatter)(const std::byte* rows, size_t row_step, size_t classes, size_t count, bool stream,
                  std::byte* to, size_t step);
  void (*scatter_target)(const std::byte* rows, size_t row_step, size_t classes, size_t count,
                         bool stream, std::byte* to, size_t step);

  // Passes in double. `exponentials` has room for `classes` values, exp(x_c - max) kWideScale.
  WideRowStats (*analyze_wide)(const std::byte* x, size_t classes, double* exponentials);
  /// Returns the sum of m_c (max - x_c) without zero masses; stores the sum of masses in *total.
  double (*sum_masses)(const std::byte* x, size_t classes, double max, const MassSource& masses,
                       double* total);
  /// out[c] = RN(factor exponentials[c] / kWideScale).
  void (*scale_wide)(const double* exponentials, size_t classes, double factor, std::byte* out);
  // Each of the next three returns whether all its results are finite. For logits narrower than
  // float64 this is always true: double has range enough for their results.
  /// out[c] = RN(scale (total (exponentials[c] / kWideScale) / norm - m_c)); `norm` is without
  /// kWideScale.
  bool (*mass_gradient)(const double* exponentials, size_t classes, double total, double norm,
                        double scale, const MassSource& masses, std::byte* out);
  /// The gradient of probabilities: out[c] = RN(scale f_c (-l_c)) with f_c = unsmoothed w_c. A zero
  /// f_c gives zero. `out` is of the target's storage type.
  bool (*target_gradient)(const std::byte* x, size_t classes, const WideRowStats& stats,
                          double scale, const MassSource& masses, std::byte* out);
  /// terms[c] = scale u_c (-l_c) with u_c = unsmoothed t_c + smooth. A zero u_c gives zero, any
  /// other gives NaN if the row is not valid.
  bool (*weight_terms)(const std::byte* x, size_t classes, const WideRowStats& stats, double scale,
                       const MassSource& masses, double* terms);
};

/// Exponentials of float64 logits are kept times 2^128, because a sum of subnormal ones would lose
/// bits. For narrower logits double has range enough.
template <typename T>
inline constexpr int kWideExponent = std::is_same_v<T, double> ? 128 : 0;
template <typename T>
inline constexpr double kWideScale = std::is_same_v<T, double> ? 0x1p128 : 1.0;

/// factor scaled / kWideScale<T>, in the order that neither overflows nor rounds twice. No
/// branches, so that compilers vectorize loops over it.
template <typename T>
[[gnu::always_inline]] inline double Unscale(double factor, double scaled) {
  if constexpr (!std::is_same_v<T, double>) return factor * scaled;
  constexpr double kDown = 1.0 / kWideScale<T>;
  const double early = (factor * kDown) * scaled;
  const double late = (factor * scaled) * kDown;
  return std::abs(factor) > 1.0 ? early : late;
}

/// Fetch it once for a range of rows, not for each row. `target` is the type of probabilities: the
/// input's, or float32 if the input is of a half type.
const RowKernels& GetRowKernels(DType input, DType target);

/// The name of the instruction set in use, such as "AVX2".
const char* InstructionSet();

}  // namespace lossd

#endif  // LOSSD_CORE_PASSES_ROW_KERNELS_H_
