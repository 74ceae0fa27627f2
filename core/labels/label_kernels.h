// Passes over labels, for each instruction set: checked and narrowed as they come in, widened as
// they are used.
#ifndef LOSSD_CORE_LABELS_LABEL_KERNELS_H_
#define LOSSD_CORE_LABELS_LABEL_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "core/problem/dtype.h"

namespace lossd {

/// Which labels are good: those in [0, classes), and ignore_index.
struct LabelRange {
  int64_t classes = 0;
  int64_t ignore_index = 0;
};

/// Stores `count` labels of integer type `dtype` in `width` bytes each (1, 2 or 4), all ones
/// standing for an ignored one. False where one of them is bad: what is stored is void then.
/// Buffers may have any alignment. REQUIRES: classes is at most 2^(8 width) - 1.
bool StoreLabels(DType dtype, size_t width, const LabelRange& range, const std::byte* from,
                 size_t count, std::byte* to, uint64_t* ignored);

/// Widens stored labels, -1 standing for an ignored one.
void LoadLabels(size_t width, const std::byte* from, size_t count, int32_t* to);

}  // namespace lossd

#endif  // LOSSD_CORE_LABELS_LABEL_KERNELS_H_
