// Chooses the passes by storage type. Highway chooses the instruction set, at run time.
#include "core/passes/row_kernels.h"

#include "core/passes/kernels_by_type.h"
#include "core/simd/row_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/passes/row_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

const char* NameOfTarget() { return hwy::TargetName(HWY_TARGET); }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(NameOfTarget);

const RowKernels& GetRowKernels(DType input, DType target) {
  const bool float_target = target == DType::kFloat32;
  switch (input) {
    case DType::kFloat64:
      return Float64Kernels();
    case DType::kFloat16:
      return Float16Kernels(float_target);
    case DType::kBFloat16:
      return BFloat16Kernels(float_target);
    default:
      return Float32Kernels();
  }
}

const char* InstructionSet() { return HWY_DYNAMIC_DISPATCH(NameOfTarget)(); }

}  // namespace lossd
#endif  // HWY_ONCE
