// The passes for float16 logits. Each type has its own file: compilers take long over it.
#include "core/passes/kernels_by_type.h"
#include "core/passes/row_kernels.h"
#include "core/simd/row_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/passes/kernels_float16.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "core/passes/row_kernels-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

const RowKernels& OfFloat16() { return KernelsOf<Float16, Float16>(); }
const RowKernels& OfFloat16AndFloat32() { return KernelsOf<Float16, float>(); }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(OfFloat16);
HWY_EXPORT(OfFloat16AndFloat32);

const RowKernels& Float16Kernels(bool float_target) {
  return float_target ? HWY_DYNAMIC_DISPATCH(OfFloat16AndFloat32)()
                      : HWY_DYNAMIC_DISPATCH(OfFloat16)();
}

}  // namespace lossd
#endif  // HWY_ONCE
