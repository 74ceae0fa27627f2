#include "core/rows/kernel.h"

#include <cstddef>
#include <cstdint>
#include <variant>

#include "absl/cleanup/cleanup.h"
#include "core/buffer.h"
#include "core/passes/row_kernels.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/rows/cross_entropy_rows.h"
#include "core/rows/nll_rows.h"
#include "core/rows/row_outputs.h"
#include "core/rows/strided_tile.h"
#include "hwy/cache_control.h"

namespace lossd {
namespace {

/// The scratch that StridedTile takes, for a row type and a target type chosen at run time.
uint64_t StridedBytes(const Plan& plan) {
  uint64_t bytes = 0;
  WithFloatingType(plan.input().dtype, [&](auto input_type) {
    using T = decltype(input_type);
    bytes = plan.target().dtype == DType::kFloat32 ? StridedTile<T, float>::Bytes(plan)
                                                   : StridedTile<T, T>::Bytes(plan);
  });
  return bytes;
}

}  // namespace

size_t Scratch::bytes() const {
  return exponentials.size() + terms.size() + strided.size() + kept.size() +
         (tile == nullptr ? 0 : sizeof(FloatTile));
}

double* GrowDoubles(Buffer* buffer, size_t count) {
  if (buffer->size() < count * sizeof(double)) *buffer = Buffer(count * sizeof(double));
  return reinterpret_cast<double*>(buffer->data());  // NOLINT(*-reinterpret-cast)
}

uint64_t ScratchBytes(const Plan& plan) {
  const uint64_t row = static_cast<uint64_t>(plan.classes()) * sizeof(double);
  const uint64_t terms = plan.outputs().grad_weight && !HasHardTargets(plan) ? row : 0;
  return row + terms + (plan.inner() > 1 ? StridedBytes(plan) : 0);
}

void EvaluateRows(const RowContext& context, const Slab& slab, int64_t begin, int64_t end,
                  RowTotals* totals, Scratch* scratch) {
  const Plan& plan = *context.plan;
  // The scratch of great rows is charged to their request, so it is freed with the task.
  const absl::Cleanup shrink = [scratch] {
    if (scratch->bytes() > kKeptScratchBytes) *scratch = Scratch();
  };
  WithFloatingType(plan.input().dtype, [&](auto input_type) {
    using T = decltype(input_type);
    std::visit(
        [&](const auto& kind) {
          EvaluateKind<T>(kind, context, slab, begin, end, totals, scratch);
        },
        plan.criterion().kind);
  });
  // Non-temporal stores are weakly ordered, so a fence comes before the range is reported as done.
  if (context.stream_gradients) hwy::FlushStream();
}

}  // namespace lossd
