// Owns the dispatch: compiles the -inl.h files once for each instruction set and picks one at run
// time.
#include "core/float_row.h"

// Scalable vectors have no fixed number of lanes to divide sixteen by.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/float_row.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "core/float_group-inl.h"
#include "core/float_row-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

const char* NameOfTarget() { return hwy::TargetName(HWY_TARGET); }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(AnalyzeFloatRow);
HWY_EXPORT(ScaleExponentials);
HWY_EXPORT(EvaluateFloatGroup);
HWY_EXPORT(NameOfTarget);

FloatRowKernels GetFloatRowKernels() {
  return {&HWY_DYNAMIC_DISPATCH(AnalyzeFloatRow), &HWY_DYNAMIC_DISPATCH(ScaleExponentials),
          &HWY_DYNAMIC_DISPATCH(EvaluateFloatGroup)};
}

const char* FloatRowTarget() { return HWY_DYNAMIC_DISPATCH(NameOfTarget)(); }

}  // namespace lossd
#endif  // HWY_ONCE
