// Owns the dispatch: compiles the -inl.h files once for each instruction set and picks one at run
// time.
#include "core/row_kernels.h"

// Scalable vectors have no fixed number of lanes to divide sixteen by.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/row_kernels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "core/float_tile-inl.h"
#include "core/index_row-inl.h"
#include "core/soft_row-inl.h"
#include "core/soft_tile-inl.h"
#include "core/tile_io-inl.h"
#include "core/wide_row-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

template <typename T, typename P>
const RowKernels& KernelsOf() {
  static constexpr RowKernels kWide = {.analyze = nullptr,
                                       .find = nullptr,
                                       .index_gradient = nullptr,
                                       .analyze_soft = nullptr,
                                       .soft_gradient = nullptr,
                                       .load_tile = nullptr,
                                       .load_tile_target = nullptr,
                                       .evaluate_tile = nullptr,
                                       .evaluate_soft_tile = nullptr,
                                       .store_tile = nullptr,
                                       .gather = &GatherElements<T>,
                                       .gather_target = &GatherElements<P>,
                                       .scatter = &ScatterElements<T>,
                                       .scatter_target = &ScatterElements<P>,
                                       .analyze_wide = &AnalyzeWideRow<T>,
                                       .sum_masses = &SumMasses<T, P>,
                                       .scale_wide = &ScaleWide<T>,
                                       .mass_gradient = &MassGradient<T, P>,
                                       .target_gradient = &TargetGradient<T, P>,
                                       .weight_terms = &WeightTerms<T, P>};
  if constexpr (std::is_same_v<T, double>) {
    return kWide;
  } else {
    static constexpr RowKernels kAll = [] {
      RowKernels kernels = kWide;
      kernels.analyze = &AnalyzeFloatRows<T>;
      kernels.find = &FindLogit<T>;
      kernels.index_gradient = &WriteIndexGradient<T>;
      kernels.analyze_soft = &AnalyzeSoftRow<T, P>;
      kernels.soft_gradient = &WriteSoftGradient<T, P>;
      kernels.load_tile = &LoadTile<T>;
      kernels.load_tile_target = &LoadTileTarget<P>;
      kernels.evaluate_tile = &EvaluateTile;
      kernels.evaluate_soft_tile = &EvaluateSoftTile;
      kernels.store_tile = &StoreTile<T>;
      return kernels;
    }();
    return kAll;
  }
}

const RowKernels& KernelsFor(DType input, DType target) {
  const bool narrow_target = target == DType::kFloat32;
  switch (input) {
    case DType::kFloat64:
      return KernelsOf<double, double>();
    case DType::kFloat16:
      return narrow_target ? KernelsOf<Float16, float>() : KernelsOf<Float16, Float16>();
    case DType::kBFloat16:
      return narrow_target ? KernelsOf<BFloat16, float>() : KernelsOf<BFloat16, BFloat16>();
    default:
      return KernelsOf<float, float>();
  }
}

const char* NameOfTarget() { return hwy::TargetName(HWY_TARGET); }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(KernelsFor);
HWY_EXPORT(NameOfTarget);

const RowKernels& GetRowKernels(DType input, DType target) {
  return HWY_DYNAMIC_DISPATCH(KernelsFor)(input, target);
}

const char* InstructionSet() { return HWY_DYNAMIC_DISPATCH(NameOfTarget)(); }

}  // namespace lossd
#endif  // HWY_ONCE
