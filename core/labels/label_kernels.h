// Passes over class indices, compiled for each instruction set: they check and narrow labels on
// arrival, and widen them for use.
#ifndef LOSSD_CORE_LABELS_LABEL_KERNELS_H_
#define LOSSD_CORE_LABELS_LABEL_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "core/problem/dtype.h"

namespace lossd {

/// The valid labels: those in [0, classes), and ignore_index.
struct LabelRange {
  int64_t classes = 0;
  int64_t ignore_index = 0;
};

/// Stores `count` labels of integer type `dtype` in `width` bytes each (1, 2 or 4). An ignored
/// label is stored as all ones. Returns false if a label is invalid; the stored labels are void
/// then. Buffers may have any alignment. REQUIRES: classes is at most 2^(8 width) - 1.
bool StoreLabels(DType dtype, size_t width, const LabelRange& range, const std::byte* from,
                 size_t count, std::byte* to, uint64_t* ignored);

/// Widens stored labels; an ignored one becomes -1.
void LoadLabels(size_t width, const std::byte* from, size_t count, int32_t* to);

}  // namespace lossd

#endif  // LOSSD_CORE_LABELS_LABEL_KERNELS_H_
