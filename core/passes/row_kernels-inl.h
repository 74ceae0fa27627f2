// The table of passes for a pair of storage types, compiled once for each instruction set.

#if defined(LOSSD_CORE_PASSES_ROW_KERNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_CORE_PASSES_ROW_KERNELS_INL_H_
#undef LOSSD_CORE_PASSES_ROW_KERNELS_INL_H_
#else
#define LOSSD_CORE_PASSES_ROW_KERNELS_INL_H_
#endif

#include <type_traits>

#include "core/passes/float_tile-inl.h"
#include "core/passes/index_row-inl.h"
#include "core/passes/row_kernels.h"
#include "core/passes/soft_row-inl.h"
#include "core/passes/soft_tile-inl.h"
#include "core/passes/tile_io-inl.h"
#include "core/passes/wide_row-inl.h"
#include "core/problem/half.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

template <typename T, typename P>
const RowKernels& KernelsOf() {
  static constexpr RowKernels kWide = {.analyze = nullptr,
                                       .find = nullptr,
                                       .index_gradient = nullptr,
                                       .kept_gradients = nullptr,
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
      kernels.kept_gradients = &WriteKeptGradients<T>;
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

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_CORE_PASSES_ROW_KERNELS_INL_H_
