// Evaluation of rows: the interface of all kernels.
//
// A kernel evaluates a range of positions of a slab, which is whole samples, contiguous in memory.
// A position's results depend only on its own data, the plan and the scale, never on the range, so
// that every split gives the same results.
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

/// Pointers to the data of consecutive whole samples. They need no alignment; a null output is not
/// written. `grad_input` may be `input` itself if the range is evaluated once.
struct Slab {
  int64_t first_position = 0;              ///< Within the problem.
  const std::byte* input = nullptr;        ///< [samples, C, inner] of the input's dtype.
  const std::byte* target = nullptr;       ///< The same shape; probability targets only.
  const std::byte* grad_output = nullptr;  ///< [positions]; if null, `scale` serves all positions.
  std::byte* loss = nullptr;               ///< [positions] of the loss dtype.
  std::byte* log_sum_exp = nullptr;        ///< [positions] of the loss dtype.
  std::byte* grad_input = nullptr;         ///< As the input.
  std::byte* grad_target = nullptr;        ///< As the target.
};

/// A kernel's working memory, which the caller owns and uses again. Kernels allocate only to grow
/// it to one row (and a few rows if classes are strided).
struct Scratch {
  Buffer exponentials;
  Buffer terms;
  Buffer strided;
  std::unique_ptr<FloatTile> tile;
  Buffer kept;  ///< Exponentials of rows that keep them.

  [[nodiscard]] size_t bytes() const;
};

/// Grows `buffer` to `count` doubles, whose values are undefined. Throws std::bad_alloc.
double* GrowDoubles(Buffer* buffer, size_t count);

/// EvaluateRows leaves at most this much in a thread's scratch.
inline constexpr size_t kKeptScratchBytes = size_t{1} << 20U;

/// Bytes of one thread's scratch that a row of the plan takes beyond what every plan takes.
uint64_t ScratchBytes(const Plan& plan);

/// Everything that rows are evaluated with, beside their data. REQUIRES: `labels` is filled for the
/// range.
struct RowContext {
  const Plan* plan = nullptr;
  const Labels* labels = nullptr;   ///< Only for class-index targets.
  double scale = 1.0;               ///< Scale(), if gradients are wanted.
  ClassSums* class_sums = nullptr;  ///< Only if the weight gradient is wanted.
  /// Whether gradients bypass the caches, for results larger than the caches.
  bool stream_gradients = false;
};

/// Evaluates positions [begin, end) of the slab, relative to its first one, and adds to `totals`.
/// Throws std::bad_alloc if the scratch cannot grow; outputs and totals are void then.
void EvaluateRows(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                  RowTotals* totals, Scratch* scratch);

}  // namespace lossd

#endif  // LOSSD_CORE_ROWS_KERNEL_H_
