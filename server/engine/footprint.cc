#include "server/engine/footprint.h"

#include <algorithm>
#include <cstdint>

#include "core/batch.h"
#include "core/labels/labels.h"
#include "core/problem/plan.h"
#include "core/problem/weight_values.h"
#include "core/rows/kernel.h"
#include "core/sums/class_sums.h"
#include "server/engine/memory_budget.h"

namespace lossd {

uint64_t KeptBytes(const Plan& plan) {
  uint64_t bytes = plan.has_weight() ? WeightValues::StoredBytes(plan.classes()) : 0;
  if (plan.target_kind() == TargetKind::kClassIndex) {
    bytes = SaturatingAdd(bytes, Labels::StoredBytes(plan));
    bytes = SaturatingAdd(bytes, Labels::CountBytes(plan));
  }
  if (plan.outputs().grad_weight) bytes = SaturatingAdd(bytes, ClassSums::StoredBytes(plan));
  return bytes;
}

uint64_t TaskScratchBytes(const Plan& plan, int64_t positions, int threads) {
  const uint64_t each = ScratchBytes(plan);
  if (each <= kKeptScratchBytes) return 0;
  const int64_t most = PositionsPerTask(plan);
  const int64_t tasks = positions / most + (positions % most == 0 ? 0 : 1);
  return SaturatingMultiply(each, static_cast<uint64_t>(std::min<int64_t>(tasks, threads)));
}

}  // namespace lossd
