// Evaluation of rows: the interface that every kernel fills.
//
// A kernel sees a slab, whole samples that lie contiguous in memory, and evaluates a range of its
// positions. What it computes for a position depends on that position's data, the plan and the
// scale alone, never on the range: that is what makes results the same for every split.
#ifndef LOSSD_CORE_ROWS_KERNEL_H_
#define LOSSD_CORE_ROWS_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/buffer.h"
#include "core/labels/labels.h"
#include "core/passes/row_kernels.h"
#include "core/problem/plan.h"
#include "core/sums/class_sums.h"
#include "core/sums/summary.h"

namespace lossd {

/// Where the data of consecutive whole samples lie. No pointer needs alignment; a null output is
/// not written. `grad_input` may be `input` itself where the range is evaluated once.
struct Slab {
  int64_t first_position = 0;              ///< Of the slab, within the problem.
  const std::byte* input = nullptr;        ///< [samples, C, inner] of the input's dtype.
  const std::byte* target = nullptr;       ///< The same shape; probability targets only.
  const std::byte* grad_output = nullptr;  ///< [positions]; null: `scale` serves every position.
  std::byte* loss = nullptr;               ///< [positions] of the loss dtype.
  std::byte* log_sum_exp = nullptr;        ///< [positions] of the loss dtype.
  std::byte* grad_input = nullptr;         ///< As the input.
  std::byte* grad_target = nullptr;        ///< As the target.
};

/// Memory that a kernel works in, owned by the caller and used again: kernels allocate only to grow
/// it to one row (and a few rows where classes are strided).
struct Scratch {
  Buffer exponentials;
  Buffer terms;
  Buffer strided;
  std::unique_ptr<FloatTile> tile;
  Buffer kept;  ///< Exponentials of rows that keep them.

  [[nodiscard]] size_t bytes() const;
};

/// Grows `buffer` to `count` doubles, whose values are void. Throws std::bad_alloc.
double* GrowDoubles(Buffer* buffer, size_t count);

/// EvaluateRows leaves no more than this in a thread's scratch.
inline constexpr size_t kKeptScratchBytes = size_t{1} << 20U;

/// Bytes that the scratch of one thread takes for a row of the plan, above what every plan takes.
uint64_t ScratchBytes(const Plan& plan);

/// What rows are evaluated with, beside their data. `labels` must be filled for the range.
struct RowContext {
  const Plan* plan = nullptr;
  const Labels* labels = nullptr;   ///< Class-index targets only.
  double scale = 1.0;               ///< Scale(), where gradients are wanted.
  ClassSums* class_sums = nullptr;  ///< Where the weight gradient is wanted.
  /// Gradients go past the caches: for results that are greater than those.
  bool stream_gradients = false;
};

/// Evaluates positions [begin, end) of the slab, counted from its first one, and adds to `totals`.
/// Throws std::bad_alloc where the scratch cannot grow; then outputs and totals are void.
void EvaluateRows(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                  RowTotals* totals, Scratch* scratch);

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_KERNEL_H_
