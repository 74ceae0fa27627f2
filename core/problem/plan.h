// A plan: one loss problem, checked once. Code that has a plan need not check shapes or options
// again.
#ifndef LOSSD_CORE_PROBLEM_PLAN_H_
#define LOSSD_CORE_PROBLEM_PLAN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/problem/class_options.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/outputs.h"
#include "core/problem/tensor.h"

namespace lossd {

class WeightValues;

/// A problem as its sender states it, before any check. Only the weight comes with data.
struct Problem {
  Criterion criterion;
  Outputs outputs;
  TensorSpec input;
  TensorSpec target;
  std::optional<TensorSpec> grad_output;
  std::optional<TensorView> weight;
  /// The weight has no bytes yet; they come later, through Plan::WithWeight.
  bool weight_follows = false;
};

/// Limits on the size of a problem.
struct PlanLimits {
  int64_t max_rank = 32;
  int64_t max_classes = int64_t{1} << 24U;
  int64_t max_positions = int64_t{1} << 40U;
};

/// A valid problem. Positions are in row-major order of the input's axes without the class axis.
/// `inner` is the product of the sizes of the axes after the class axis, so that element (position
/// p, class c) of the input is at ((p / inner) * classes + c) * inner + p % inner. Immutable, so
/// safe to share.
class Plan {
 public:
  /// Checks everything that can be checked without tensor data. INVALID_ARGUMENT with the field's
  /// path in the protocol's names, or RESOURCE_EXHAUSTED if a limit is exceeded.
  static absl::StatusOr<std::shared_ptr<const Plan>> Create(const Problem& problem,
                                                            const PlanLimits& limits = {});
  /// This plan with the weight that followed. REQUIRES: weight_follows(), and values of
  /// WeightDType() for all classes.
  [[nodiscard]] std::shared_ptr<const Plan> WithWeight(WeightValues values) const;

  [[nodiscard]] const Criterion& criterion() const { return criterion_; }
  [[nodiscard]] const Outputs& outputs() const { return outputs_; }
  [[nodiscard]] const TensorSpec& input() const { return input_; }
  [[nodiscard]] const TensorSpec& target() const { return target_; }
  [[nodiscard]] const std::optional<TensorSpec>& grad_output() const { return grad_output_; }

  [[nodiscard]] TargetKind target_kind() const { return target_kind_; }
  [[nodiscard]] DType loss_dtype() const { return LossDType(input_.dtype); }
  [[nodiscard]] int64_t classes() const { return classes_; }
  [[nodiscard]] int64_t inner() const { return inner_; }
  [[nodiscard]] int64_t positions() const { return positions_; }
  /// The number of runs of `inner` positions. Each run is contiguous in the input, with all its
  /// classes.
  [[nodiscard]] int64_t samples() const { return samples_; }
  [[nodiscard]] int64_t ignore_index() const { return ignore_index_; }

  /// Whether a weight is given or follows.
  [[nodiscard]] bool has_weight() const { return weight_follows_ || !weight_.empty(); }
  /// Whether the weight has yet to come. Until then nothing can be evaluated.
  [[nodiscard]] bool weight_follows() const { return weight_follows_; }
  /// Class weights widened to double (exact); empty without a weight, when all are 1.
  [[nodiscard]] const std::vector<double>& weight() const { return weight_; }
  [[nodiscard]] double WeightOf(int64_t c) const {
    return weight_.empty() ? 1.0 : weight_[static_cast<size_t>(c)];
  }
  [[nodiscard]] double weight_sum() const { return weight_sum_; }

  /// Whether the divisor of `mean` comes from the labels, so that gradients need all labels first.
  [[nodiscard]] bool NeedsLabelsForScale() const {
    return outputs_.AnyGradient() && criterion_.reduction == Reduction::kMean &&
           !criterion_.normalizer && target_kind_ == TargetKind::kClassIndex;
  }

  /// The shape of the loss: () unless the reduction is none. That of the log-sum-exp is
  /// PositionShape().
  [[nodiscard]] Shape LossShape() const;
  [[nodiscard]] const Shape& PositionShape() const { return position_shape_; }
  [[nodiscard]] DType WeightDType() const { return weight_dtype_; }

 private:
  friend class PlanBuilder;
  Plan() = default;

  Criterion criterion_;
  Outputs outputs_;
  TensorSpec input_;
  TensorSpec target_;
  std::optional<TensorSpec> grad_output_;
  Shape position_shape_;
  std::vector<double> weight_;
  double weight_sum_ = 0;
  bool weight_follows_ = false;
  int64_t classes_ = 0;
  int64_t inner_ = 1;
  int64_t positions_ = 0;
  int64_t samples_ = 0;
  int64_t ignore_index_ = kDefaultIgnoreIndex;
  TargetKind target_kind_ = TargetKind::kClassIndex;
  DType weight_dtype_ = DType::kFloat32;
};

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_PLAN_H_
