// The passes for each storage type of the logits, on the instruction set of this machine. Each type
// has a file of its own. `float_target`: probabilities, if any, are float32, not of the half type.
#ifndef LOSSD_CORE_PASSES_KERNELS_BY_TYPE_H_
#define LOSSD_CORE_PASSES_KERNELS_BY_TYPE_H_

#include "core/passes/row_kernels.h"

namespace lossd {

const RowKernels& Float32Kernels();
const RowKernels& Float64Kernels();
const RowKernels& Float16Kernels(bool float_target);
const RowKernels& BFloat16Kernels(bool float_target);

}  // namespace lossd

#endif  // LOSSD_CORE_PASSES_KERNELS_BY_TYPE_H_
