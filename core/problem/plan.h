// A plan: one loss problem, checked once. What holds a plan need not check shapes or options again.
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

/// A problem as its sender states it: nothing is checked yet. Only the weight comes with data.
struct Problem {
  Criterion criterion;
  Outputs outputs;
  TensorSpec input;
  TensorSpec target;
  std::optional<TensorSpec> grad_output;
  std::optional<TensorView> weight;
  /// The weight is stated without its bytes: they come later, for Plan::WithWeight.
  bool weight_follows = false;
};

/// Bounds on what a plan may ask for.
struct PlanLimits {
  int64_t max_rank = 32;
  int64_t max_classes = int64_t{1} << 24U;
  int64_t max_positions = int64_t{1} << 40U;
};

/// A valid problem. Positions are the input's elements with the class axis left out, row-major;
/// `inner` counts those that follow the class axis, so that element (position p, class c) of the
/// input lies at ((p / inner) * classes + c) * inner + p % inner. Immutable, safe to share.
class Plan {
 public:
  /// Checks everything that can be checked without tensor data. Errors are INVALID_ARGUMENT with
  /// the field's path in the protocol's names, or RESOURCE_EXHAUSTED where a limit is passed.
  static absl::StatusOr<std::shared_ptr<const Plan>> Create(const Problem& problem,
                                                            const PlanLimits& limits = {});
  /// This plan completed by the weight that follows. REQUIRES: weight_follows(), and values of
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
  /// Runs of `inner` positions: the pieces in which the input is contiguous.
  [[nodiscard]] int64_t samples() const { return samples_; }
  [[nodiscard]] int64_t ignore_index() const { return ignore_index_; }

  /// Whether a weight is given, or follows.
  [[nodiscard]] bool has_weight() const { return weight_follows_ || !weight_.empty(); }
  /// Whether the weight is yet to come: until then nothing can be evaluated.
  [[nodiscard]] bool weight_follows() const { return weight_follows_; }
  /// Class weights widened to double (exact); empty where all are 1.
  [[nodiscard]] const std::vector<double>& weight() const { return weight_; }
  [[nodiscard]] double WeightOf(int64_t c) const {
    return weight_.empty() ? 1.0 : weight_[static_cast<size_t>(c)];
  }
  /// Sum of all class weights.
  [[nodiscard]] double weight_sum() const { return weight_sum_; }

  /// True where the divisor of `mean` comes from the labels, so that gradients wait for all of
  /// them.
  [[nodiscard]] bool NeedsLabelsForScale() const {
    return outputs_.AnyGradient() && criterion_.reduction == Reduction::kMean &&
           !criterion_.normalizer && target_kind_ == TargetKind::kClassIndex;
  }

  /// Shape of the loss: () unless the reduction is none; of the log-sum-exp: one entry a position.
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
