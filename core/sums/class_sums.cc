#include "core/sums/class_sums.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <type_traits>
#include <variant>
#include <vector>

#include "core/labels/labels.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"
#include "core/sums/exact_sum.h"
#include "core/sums/scaled.h"
#include "core/sums/summary.h"

namespace lossd {
namespace {

template <typename Sums>
using TermOf =
    std::conditional_t<std::is_same_v<Sums, std::vector<ExactSum<float>>>, float, double>;

}  // namespace

ClassSums::ClassSums(const Plan& plan) {
  const auto classes = static_cast<size_t>(plan.classes());
  if (plan.loss_dtype() == DType::kFloat64) {
    sums_ = std::vector<ExactSum<double>>(classes);
  } else {
    sums_ = std::vector<ExactSum<float>>(classes);
  }
}

uint64_t ClassSums::StoredBytes(const Plan& plan) {
  const size_t each =
      plan.loss_dtype() == DType::kFloat64 ? sizeof(ExactSum<double>) : sizeof(ExactSum<float>);
  return static_cast<uint64_t>(plan.classes()) * each;
}

void ClassSums::AddRow(const double* terms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::visit(
      [terms](auto& sums) {
        using F = TermOf<std::decay_t<decltype(sums)>>;
        for (size_t c = 0; c < sums.size(); ++c) {
          if (terms[c] != 0.0) sums[c].Add(Narrow<F>(terms[c]));
        }
      },
      sums_);
}

void ClassSums::AddOne(int64_t c, double term) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::visit(
      [&](auto& sums) {
        using F = TermOf<std::decay_t<decltype(sums)>>;
        sums[static_cast<size_t>(c)].Add(Narrow<F>(term));
      },
      sums_);
}

void ClassSums::Write(const Plan& plan, const Labels* labels, double grad_output,
                      const Summary& summary, std::byte* to) const {
  // The divisor depends on the weights only if it is made of them.
  const bool divisor_has_weights = plan.criterion().reduction == Reduction::kMean &&
                                   !plan.criterion().normalizer && labels != nullptr;
  const double divisor = ToDouble(summary.normalizer);
  const double loss_sum = ToDouble(summary.loss_sum);
  const double per_count = divisor_has_weights ? grad_output * (loss_sum / divisor) / divisor : 0.0;
  const Scaled wide_divisor = ToScaled(summary.normalizer);
  const Scaled wide_per_count =
      Scaled::Of(grad_output) * (ToScaled(summary.loss_sum) / wide_divisor) / wide_divisor;
  const size_t size = SizeOf(plan.WeightDType());
  std::visit(
      [&](const auto& sums) {
        for (size_t c = 0; c < sums.size(); ++c) {
          const uint64_t count = divisor_has_weights ? labels->class_counts()[c] : 0;
          double value = sums[c].ToDouble();
          if (count > 0) value -= per_count * static_cast<double>(count);
          // A term is beyond double's range, but the difference may be within it.
          if (count > 0 && !(std::isfinite(value) && std::isfinite(divisor))) {
            const Scaled all = wide_per_count * Scaled::Of(static_cast<double>(count));
            value = (sums[c].ToScaled() - all).ToDouble();
          }
          StoreFromDouble(plan.WeightDType(), value, to + c * size);
        }
      },
      sums_);
}

}  // namespace lossd
