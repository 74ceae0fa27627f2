// Passes over rows of logits: the interface, free of instruction sets.
//
// Two families. In float32 arithmetic, for float32 and half types: rows of more than 64
// classes one at a time, narrower ones in tiles of many positions. In double, for
// float64 and for rows out of float32's range. The arithmetic of both is fixed: virtual lanes
// whatever the machine has (sixteen float32, eight double), one fused multiply-add for each that is
// written, fixed trees, no library functions. So all instruction sets give the same bits.
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

/// Facts that the passes in float32 find about a row.
struct FloatRowStats {
  bool in_range = false;  ///< False: NaN, +inf, all -inf, or |max| > 1024; the rest is not set.
  float max = 0;
  double tail = 0;           ///< Sum of exp(x_c - max) over all classes but one that has it.
  double log_norm = 0;       ///< log(1 + tail)
  double kept_scale = 1;     ///< Makes kept exponentials relative to 2^max_exponent.
  double max_mantissa = 1;   ///< exp(max) 2^-max_exponent, times the factor of exponentials.
  int32_t max_exponent = 0;  ///< The power of two that exponentials are relative to.
};

/// Rows that are analyzed together at most, so that what follows each one's sum, a long chain of
/// scalar operations, is done by vectors.
inline constexpr size_t kRowsTogether = 4;
/// How many, so that a first-level cache still has them when their gradients are computed.
constexpr size_t RowsTogether(size_t row_bytes) {
  constexpr size_t kBytes = size_t{16} << 10U;
  const size_t fit = kBytes / row_bytes;
  return fit < 1 ? 1 : (fit < kRowsTogether ? fit : kRowsTogether);
}

/// Rows up to so many classes can keep their exponentials for the gradient: what a first-level
/// cache holds beside the row, and one span of the sum.
inline constexpr size_t kKeptClasses = 1024;
/// From a row's kept exponentials to the next row's; the last 64 may reach beyond the row. Not a
/// power of two: rows would fall on the same sets of the cache.
constexpr size_t KeptStep(size_t classes) { return (classes / 64 + 1) * 64 + 16; }

/// Gradients of rows of so many bytes, where they are streamed to memory, are written beside the
/// sums of the rows after them, which wait less for memory: 0.92 of the time with 1,000 classes of
/// float32. With 300 classes it took 1.01, with 150 1.11, with 1,000 of bfloat16 1.01.
inline constexpr size_t kLateBytes = 2048;

/// What the passes in float32 find out about a row and its masses.
struct SoftRowStats {
  FloatRowStats row;
  int64_t argmax = 0;         ///< Lowest index of the maximum.
  double below = 0;           ///< Sum of m_c (max - x_c), leaving out zero masses.
  double total = 0;           ///< Sum of m_c.
  int64_t target_argmax = 0;  ///< Lowest index of the greatest probability, NaN apart.
};

/// Entries of a gradient that are given beside what the passes compute, before they are rounded to
/// the storage type; in the order of their classes, no class twice.
struct GradientEntries {
  size_t count = 0;
  size_t at[2] = {};
  double value[2] = {};
};

/// Gradients of rows whose exponentials are kept, out[c] = RN(factor kept[c]) but for the entries.
struct KeptGradients {
  size_t count = 0;
  bool stream = false;
  const float* kept[kRowsTogether] = {};
  float factors[kRowsTogether] = {};
  GradientEntries entries[kRowsTogether];
  std::byte* to[kRowsTogether] = {};
};

/// Whether a gradient's factor is exact to an ulp in float32, keeps products in range, and lets
/// what stands for exp(-inf) vanish.
inline constexpr double kLeastFactor = 0x1p-120;
inline constexpr double kGreatestFactor = 0x1p-31;
inline bool FactorFits(double factor) {
  return factor == 0.0 || (std::abs(factor) > kLeastFactor && std::abs(factor) < kGreatestFactor);
}

/// Where a tail is smaller, the maximum's probability is so near 1 that rounding the product of
/// factor and exponential, some 3 ulp off, could take it beyond; it is then taken from the tail.
inline constexpr double kSmallTail = 0x1p-20;

/// Positions that are evaluated at once where classes are few, one in each lane.
inline constexpr size_t kGroup = 16;
/// Up to so many classes rows are evaluated in tiles; beyond, each by itself. What a row gives must
/// not depend on how it lies in memory, so the number of classes alone decides.
inline constexpr size_t kMaxTileClasses = 64;
/// Logits of a tile, and its positions: about half of a first-level cache. Half of it, with runs of
/// 384 bytes for each of 19 classes, took 1.3 times as long at (2,19,512,1024). Not 256 positions:
/// classes would lie a power of two apart, on the same sets of the cache.
inline constexpr size_t kTileElements = 4096;
inline constexpr size_t kTilePositions = 240;

/// Positions of a tile of rows of so many classes, whole groups.
constexpr size_t TilePositions(size_t classes) {
  const size_t fit = kTileElements / classes / kGroup * kGroup;
  return fit < kTilePositions ? fit : kTilePositions;
}

/// As many as part of a second-level cache holds, a cache line of float32 at least.
constexpr size_t StridedPositions(size_t row_bytes) {
  constexpr size_t kTileBytes = size_t{256} << 10U;
  const size_t fit = kTileBytes / row_bytes / kGroup * kGroup;
  return fit < kGroup ? kGroup : (fit < kStridedPositions ? fit : kStridedPositions);
}

/// Where a tile lies in memory: element (class c, position i) at c * class_step + i *
/// position_step, in elements.
struct TileLayout {
  size_t classes = 0;
  size_t count = 0;  ///< Positions, 1 to TilePositions(classes).
  size_t class_step = 1;
  size_t position_step = 1;
};

/// Memory that the next tile will be read from: runs of bytes.
struct TileAhead {
  const std::byte* from = nullptr;
  size_t runs = 0;
  size_t run_bytes = 0;
  size_t run_step = 0;  ///< Bytes from the begin of a run to that of the next.
};

/// Positions with their classes apart, [classes, kTilePositions at most].
struct FloatTile {
  size_t classes = 0;
  size_t count = 0;       ///< Positions.
  size_t step = 0;        ///< Positions from a class to the next: `count` rounded up to groups.
  bool gradient = false;  ///< Whether the gradient is wanted.
  bool logs = false;      ///< Whether negative_logs and log_sum_exps are wanted.
  const double* class_weight = nullptr;  ///< Null: all 1. Values of float32.
  // Where masses lie on many classes: those of a class are w_c (unsmoothed t_c + smooth).
  bool probabilities = false;  ///< Whether `targets` are given; otherwise t_c = 0, and labels have
                               ///< a mass of unsmoothed w_y of their own.
  double unsmoothed = 1;
  double smooth = 0;
  double spread = 0;                           ///< smooth times the sum of weights.
  TileAhead ahead[2];                          ///< Of logits and of targets.
  alignas(64) float logits[kTileElements];     ///< [classes, step]; unused lanes are finite.
  alignas(64) float targets[kTileElements];    ///< Likewise.
  alignas(64) int32_t labels[kTilePositions];  ///< -1 where there is none; with probabilities a
                                               ///< result, the first index of the greatest.
  alignas(64) float scales[kTilePositions];    ///< What gradients are multiplied by.
  // Results.
  alignas(64) float gradients[kTileElements];        ///< [classes, step]
  alignas(64) float losses[kTilePositions];          ///< Weighted and rounded; 0 without a label.
  alignas(64) double negative_logs[kTilePositions];  ///< -l_y; not of many classes' masses.
  alignas(64) double log_norms[kTilePositions];      ///< log(1 + tail), for those alone.
  alignas(64) double log_sum_exps[kTilePositions];
  alignas(64) int32_t argmax[kTilePositions];  ///< Lowest index of the maximum.
  bool good[kTilePositions];  ///< False: needs the passes in double; its results are void.
  bool all_good = false;      ///< Whether all lanes are.
  bool summed = false;        ///< Whether all losses are in `loss_units`.
  __int128 loss_units = 0;    ///< Exact sum of the losses in units of 2^kLossUnit.
  // Rows on their way in and out.
  alignas(64) float rows[kTileElements];
};

/// What FloatTile::loss_units counts: losses of magnitudes 2^-29 to 2^16 are its multiples.
inline constexpr int kLossUnit = -52;

/// A greater weight could lift what stands for exp(-inf) into the last place of a loss in float32.
inline double GreatestWeight(size_t classes) { return 0x1p33 / static_cast<double>(classes); }

/// What the passes in double find out about a row.
struct WideRowStats {
  double max = 0;
  double tail = 0;      ///< Sum of exp(x_c - max) times the row's scale over all but `argmax`.
  double log_norm = 0;  ///< log(sum_c exp(x_c - max)).
  int64_t argmax = 0;   ///< Lowest index of the maximum.
  bool valid = false;   ///< False: +inf or NaN among the logits, or all -inf.
};

/// The masses of a row's classes, m_c = w_c (unsmoothed t_c + smooth), or w_c smooth without t.
struct MassSource {
  const std::byte* probabilities = nullptr;  ///< Of the target's storage type; may be null.
  const double* weight = nullptr;            ///< Null: all 1.
  double unsmoothed = 1.0;
  double smooth = 0.0;
};

/// Passes for the instruction set of this machine and one pair of storage types.
struct RowKernels {
  // In float32. Null for float64.
  /// For `count` rows, at most kRowsTogether. `kept`, if not null, gets their exponentials,
  /// KeptStep floats for each, 64-byte aligned. REQUIRES: then classes is at most kKeptClasses.
  /// `due`, if not null, are gradients of rows before these, which are written beside the sums:
  /// storing waits for memory, adding does not.
  void (*analyze)(const std::byte* const* rows, size_t count, size_t classes, float* kept,
                  const KeptGradients* due, FloatRowStats* stats);
  /// Lowest index of a logit; `classes` where there is none.
  size_t (*find)(const std::byte* x, size_t classes, float logit);
  /// out[c] = RN(factor exp(x_c) 2^(61 - max_exponent)) but for the entries; `out` is of the same
  /// storage type and may be `x`, and is written past the caches with `stream`. Needs stats in
  /// range.
  void (*index_gradient)(const std::byte* x, size_t classes, const FloatRowStats& stats,
                         float factor, const GradientEntries& entries, bool stream, std::byte* out);
  /// The same from kept exponentials, for rows that no more follow.
  void (*kept_gradients)(const KeptGradients& due, size_t classes);
  /// For masses on many classes; of use where the row is in range and `total` is finite.
  SoftRowStats (*analyze_soft)(const std::byte* x, size_t classes, const MassSource& masses);
  /// out[c] = RN(factor exp(x_c) 2^(61 - max_exponent) - scale m_c) but for the entries; otherwise
  /// as index_gradient.
  void (*soft_gradient)(const std::byte* x, size_t classes, const FloatRowStats& stats,
                        double factor, double scale, const MassSource& masses,
                        const GradientEntries& entries, bool stream, std::byte* out);
  void (*load_tile)(const std::byte* from, const TileLayout& layout, FloatTile* tile);
  void (*load_tile_target)(const std::byte* from, const TileLayout& layout, FloatTile* tile);
  void (*evaluate_tile)(FloatTile* tile);
  void (*evaluate_soft_tile)(FloatTile* tile);
  /// Writes the gradients of the positions that are good.
  void (*store_tile)(const TileLayout& layout, bool stream, FloatTile* tile, std::byte* to);

  // Where classes are strided: [classes, count] elements, `step` from a class to the next, to rows
  // of classes, `row_step` from one to the next, and back; for the input's type and the target's.
  void (*gather)(const std::byte* from, size_t step, size_t classes, size_t count, std::byte* rows,
                 size_t row_step);
  void (*gather_target)(const std::byte* from, size_t step, size_t classes, size_t count,
                        std::byte* rows, size_t row_step);
  void (*scatter)(const std::byte* rows, size_t row_step, size_t classes, size_t count, bool stream,
                  std::byte* to, size_t step);
  void (*scatter_target)(const std::byte* rows, size_t row_step, size_t classes, size_t count,
                         bool stream, std::byte* to, size_t step);

  // In double. `exponentials` has room for `classes`: exp(x_c - max) times kWideScale.
  WideRowStats (*analyze_wide)(const std::byte* x, size_t classes, double* exponentials);
  /// Sum of m_c (max - x_c), leaving out zero masses; the sum of masses in *total.
  double (*sum_masses)(const std::byte* x, size_t classes, double max, const MassSource& masses,
                       double* total);
  /// out[c] = RN(factor exponentials[c] / kWideScale).
  void (*scale_wide)(const double* exponentials, size_t classes, double factor, std::byte* out);
  // The next three say whether all that they gave is finite. Not of logits narrower than float64,
  // for whose results double has range enough: those are always true.
  /// out[c] = RN(scale (total exponentials[c] / norm - m_c)), norm without kWideScale.
  bool (*mass_gradient)(const double* exponentials, size_t classes, double total, double norm,
                        double scale, const MassSource& masses, std::byte* out);
  /// The gradient of probabilities, RN(scale f_c (-l_c)) with f_c = unsmoothed w_c, zero factors
  /// giving zero; `out` is of the target's storage type.
  bool (*target_gradient)(const std::byte* x, size_t classes, const WideRowStats& stats,
                          double scale, const MassSource& masses, std::byte* out);
  /// terms[c] = scale u_c (-l_c) with u_c = unsmoothed t_c + smooth; NaN for a row that is not
  /// valid.
  bool (*weight_terms)(const std::byte* x, size_t classes, const WideRowStats& stats, double scale,
                       const MassSource& masses, double* terms);
};

/// Exponentials of float64 logits are kept times 2^128: a sum of subnormal ones would lose its
/// bits. For narrower logits double has range enough.
template <typename T>
inline constexpr int kWideExponent = std::is_same_v<T, double> ? 128 : 0;
template <typename T>
inline constexpr double kWideScale = std::is_same_v<T, double> ? 0x1p128 : 1.0;

/// factor scaled / kWideScale<T>, in the order that neither overflows nor rounds twice. Free of
/// branches, so that loops over it become vector code.
template <typename T>
[[gnu::always_inline]] inline double Unscale(double factor, double scaled) {
  if constexpr (!std::is_same_v<T, double>) return factor * scaled;
  constexpr double kDown = 1.0 / kWideScale<T>;
  const double early = (factor * kDown) * scaled;
  const double late = (factor * scaled) * kDown;
  return std::abs(factor) > 1.0 ? early : late;
}

/// To be fetched once for a range of rows, not for each. `target` is the type of probabilities: the
/// input's, or float32 beside a half.
const RowKernels& GetRowKernels(DType input, DType target);

/// Name of the instruction set in use, such as "AVX2".
const char* InstructionSet();

}  // namespace lossd

#endif  // LOSSD_CORE_PASSES_ROW_KERNELS_H_
