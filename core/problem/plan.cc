#include "core/problem/plan.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/problem/class_options.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/outputs.h"
#include "core/problem/tensor.h"
#include "core/problem/weight_values.h"

namespace lossd {
namespace {

/// `name` is the limit's in v1.Limits.
[[gnu::cold]] absl::Status OverLimit(absl::string_view name, absl::string_view what, int64_t limit,
                                     int64_t got) {
  return WithMetadata(
      FieldError(absl::StatusCode::kResourceExhausted, "input.shape", "LIMIT_EXCEEDED",
                 absl::StrCat("expected at most ", limit, " ", what, ", got ", got)),
      LimitMetadata(name, limit, got));
}

absl::Status CheckShape(const TensorSpec& spec, const Shape& expected, absl::string_view field,
                        absl::string_view why) {
  if (spec.shape == expected) return absl::OkStatus();
  return InvalidField(absl::StrCat(field, ".shape"), "SHAPE_MISMATCH", "expected ",
                      ToString(expected), " (", why, "), got ", ToString(spec.shape));
}

/// Weight, probability target and incoming gradient have the input's type, or float32 if the input
/// is of a half type.
absl::Status CheckCompanionDType(DType dtype, DType input, absl::string_view field) {
  if (dtype == input || (IsHalf(input) && dtype == DType::kFloat32)) return absl::OkStatus();
  return InvalidField(absl::StrCat(field, ".dtype"), "DTYPE_MISMATCH", "expected ", Name(input),
                      IsHalf(input) ? " or float32" : "", " as the input, got ", Name(dtype));
}

}  // namespace

/// Fills a plan step by step; each step relies on the previous ones.
class PlanBuilder {
 public:
  PlanBuilder(const Problem& problem, const PlanLimits& limits)
      : problem_(problem), limits_(limits), plan_(new Plan()) {}

  absl::StatusOr<std::shared_ptr<const Plan>> Build() {
    plan_->criterion_ = problem_.criterion;
    plan_->outputs_ = problem_.outputs;
    plan_->ignore_index_ =
        plan_->criterion_.class_options().ignore_index.value_or(kDefaultIgnoreIndex);
    LOSSD_RETURN_IF_ERROR(Input());
    LOSSD_RETURN_IF_ERROR(Target());
    LOSSD_RETURN_IF_ERROR(Weight());
    LOSSD_RETURN_IF_ERROR(CheckCriterion(plan_->criterion_, plan_->target_kind_));
    LOSSD_RETURN_IF_ERROR(GradOutput());
    LOSSD_RETURN_IF_ERROR(WantedOutputs());
    return std::shared_ptr<const Plan>(std::move(plan_));
  }

 private:
  absl::Status Input() {
    const TensorSpec& input = problem_.input;
    if (!IsFloating(input.dtype)) {
      return InvalidField("input.dtype", "DTYPE_UNSUPPORTED",
                          "expected float32, float64, float16 or bfloat16, got ",
                          Name(input.dtype));
    }
    const auto rank = static_cast<int64_t>(input.shape.size());
    if (rank < 1) {
      return InvalidField("input.shape", "RANK_MISMATCH",
                          "expected (C), (N, C) or (N, C, d1, ..., dK), got a scalar");
    }
    if (rank > limits_.max_rank) {
      return OverLimit("max_rank", "dimensions", limits_.max_rank, rank);
    }
    const auto elements = CheckedElements(input, "input");
    if (!elements.ok()) return elements.status();
    LOSSD_RETURN_IF_ERROR(ClassAxis(rank));
    plan_->input_ = input;
    return Positions();
  }

  absl::Status ClassAxis(int64_t rank) {
    const int64_t wanted =
        problem_.criterion.class_options().class_axis.value_or(rank == 1 ? 0 : 1);
    if (wanted < -rank || wanted >= rank) {
      return InvalidField(problem_.criterion.PathOf("class_axis"), "CLASS_AXIS_RANGE",
                          "expected an axis in [", -rank, ", ", rank, ") for an input of ", rank,
                          " dimensions, got ", wanted);
    }
    axis_ = static_cast<size_t>(wanted < 0 ? wanted + rank : wanted);
    return absl::OkStatus();
  }

  absl::Status Positions() {
    const Shape& shape = problem_.input.shape;
    plan_->classes_ = shape[axis_];
    if (plan_->classes_ < 1) {
      return InvalidField("input.shape", "CLASSES_EMPTY", "expected at least 1 class at axis ",
                          axis_, ", got ", ToString(shape));
    }
    if (plan_->classes_ > limits_.max_classes) {
      return OverLimit("max_classes", "classes", limits_.max_classes, plan_->classes_);
    }
    int64_t outer = 1;
    // No overflow: CheckedElements bounded the product of all sizes unless one of them is 0.
    bool empty = false;
    for (const int64_t size : shape) empty = empty || size == 0;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (i == axis_) continue;
      plan_->position_shape_.push_back(shape[i]);
      if (!empty) (i < axis_ ? outer : plan_->inner_) *= shape[i];
    }
    plan_->samples_ = empty ? 0 : outer;
    plan_->positions_ = empty ? 0 : outer * plan_->inner_;
    if (plan_->positions_ > limits_.max_positions) {
      return OverLimit("max_positions", "positions", limits_.max_positions, plan_->positions_);
    }
    return absl::OkStatus();
  }

  absl::Status Target() {
    const TensorSpec& target = problem_.target;
    plan_->target_ = target;
    if (IsInteger(target.dtype)) {
      plan_->target_kind_ = TargetKind::kClassIndex;
      if (target.shape == plan_->position_shape_) return absl::OkStatus();
      return WrongIndexShape();
    }
    plan_->target_kind_ = TargetKind::kProbabilities;
    // Probably labels that a program keeps as floats, often from a table with missing values.
    if (target.shape == plan_->position_shape_ && target.shape != problem_.input.shape) {
      return InvalidField("target.dtype", "DTYPE_MISMATCH",
                          "expected class indices of an integer type, or probabilities of shape ",
                          ToString(problem_.input.shape), ", got ", Name(target.dtype),
                          " of shape ", ToString(target.shape));
    }
    LOSSD_RETURN_IF_ERROR(CheckCompanionDType(target.dtype, problem_.input.dtype, "target"));
    return CheckShape(target, problem_.input.shape, "target", "the input's, for probabilities");
  }

  /// Names the class axis, and another axis that would have fitted.
  [[gnu::cold]] absl::Status WrongIndexShape() const {
    const Shape& input = problem_.input.shape;
    const Shape& target = problem_.target.shape;
    std::string hint;
    if (target == input) hint = "; probabilities are of a floating type";
    for (size_t axis = 0; axis < input.size() && hint.empty(); ++axis) {
      Shape without = input;
      without.erase(without.begin() + static_cast<ptrdiff_t>(axis));
      if (axis == axis_ || target != without) continue;
      const bool last = axis + 1 == input.size();
      hint = absl::StrCat("; class_axis = ", last ? -1 : static_cast<int64_t>(axis), " fits it");
    }
    return InvalidField("target.shape", "SHAPE_MISMATCH", "expected ",
                        ToString(plan_->position_shape_), ", class indices of an input ",
                        ToString(input), " whose classes lie along axis ", axis_,
                        " (class_axis), got ", ToString(target), hint);
  }

  absl::Status Weight() {
    const auto classes = static_cast<double>(plan_->classes_);
    plan_->weight_sum_ = classes;
    plan_->weight_dtype_ = plan_->loss_dtype();
    if (!problem_.weight) return absl::OkStatus();
    const TensorView& weight = *problem_.weight;
    plan_->weight_dtype_ = weight.spec.dtype;
    const std::string path = problem_.criterion.PathOf("weight");
    LOSSD_RETURN_IF_ERROR(CheckCompanionDType(weight.spec.dtype, problem_.input.dtype, path));
    LOSSD_RETURN_IF_ERROR(
        CheckShape(weight.spec, {plan_->classes_}, path, "one weight for each class"));
    plan_->weight_follows_ = problem_.weight_follows;
    if (problem_.weight_follows) return absl::OkStatus();
    LOSSD_RETURN_IF_ERROR(CheckBytes(weight, path));
    WeightValues values(weight.spec.dtype, plan_->classes_);
    values.Append(weight.bytes);
    plan_->weight_sum_ = values.Sum();
    plan_->weight_ = values.Take();
    return absl::OkStatus();
  }

  absl::Status GradOutput() {
    if (!problem_.grad_output) return absl::OkStatus();
    const TensorSpec& grad = *problem_.grad_output;
    plan_->grad_output_ = grad;
    LOSSD_RETURN_IF_ERROR(CheckCompanionDType(grad.dtype, problem_.input.dtype, "grad_output"));
    if (!problem_.outputs.AnyGradient()) {
      return InvalidField("grad_output", "GRAD_OUTPUT_UNUSED",
                          "expected a gradient among the wanted outputs where this is given");
    }
    return CheckShape(grad, plan_->LossShape(), "grad_output", "the loss's");
  }

  absl::Status WantedOutputs() {
    const Outputs& outputs = problem_.outputs;
    if (outputs.grad_target && plan_->target_kind_ != TargetKind::kProbabilities) {
      return InvalidField("outputs.grad_target", "GRAD_TARGET_OF_CLASS_INDEX",
                          "expected a probability target: class indices have no gradient");
    }
    if (outputs.grad_weight && !problem_.weight) {
      return InvalidField("outputs.grad_weight", "GRAD_WEIGHT_WITHOUT_WEIGHT", "expected ",
                          problem_.criterion.PathOf("weight"), " to be given");
    }
    return absl::OkStatus();
  }

  const Problem& problem_;
  const PlanLimits& limits_;
  std::unique_ptr<Plan> plan_;
  size_t axis_ = 0;
};

absl::StatusOr<std::shared_ptr<const Plan>> Plan::Create(const Problem& problem,
                                                         const PlanLimits& limits) {
  return PlanBuilder(problem, limits).Build();
}

std::shared_ptr<const Plan> Plan::WithWeight(WeightValues values) const {
  std::shared_ptr<Plan> plan(new Plan(*this));
  plan->weight_sum_ = values.Sum();
  plan->weight_ = values.Take();
  plan->weight_follows_ = false;
  return plan;
}

Shape Plan::LossShape() const {
  return criterion_.reduction == Reduction::kNone ? position_shape_ : Shape();
}

}  // namespace lossd
