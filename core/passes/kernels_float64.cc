// The passes for float64 logits. Each type has its own file: compilers take long over it.
#include "core/passes/kernels_by_type.h"
#include "core/passes/row_kernels.h"
#include "core/simd/row_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/passes/kernels_float64.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "core/passes/row_kernels-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

const RowKernels& OfFloat64() { return KernelsOf<double, double>(); }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(OfFloat64);

const RowKernels& Float64Kernels() { return HWY_DYNAMIC_DISPATCH(OfFloat64)(); }

}  // namespace lossd
#endif  // HWY_ONCE
