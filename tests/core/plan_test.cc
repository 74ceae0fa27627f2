// Every way in which a problem can be invalid, with its status code, field and reason.
#include "core/problem/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "core/problem/error.h"
#include "core/problem/weight_values.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

OwnedProblem Good() {
  OwnedProblem problem;
  problem.input = MakeTensor(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6});
  problem.target = MakeTensor(DType::kInt64, {2}, {0, 2});
  return problem;
}

void MakeProbabilities(OwnedProblem* p) {
  p->target = MakeTensor(DType::kFloat32, {2, 3}, {1, 0, 0, 0, 1, 0});
}

struct BadCase {
  std::string name;
  std::function<void(OwnedProblem*)> spoil;
  std::string field;
  std::string reason;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

std::vector<BadCase> BadShapes() {
  constexpr int64_t kHuge = int64_t{1} << 40U;
  return {
      {"integer input", [](auto* p) { p->input.spec.dtype = DType::kInt32; }, "input.dtype",
       "DTYPE_UNSUPPORTED"},
      {"scalar input", [](auto* p) { p->input.spec.shape = {}; }, "input.shape", "RANK_MISMATCH"},
      {"negative size",
       [](auto* p) {
         p->input.spec.shape = {-2, 3};
       },
       "input.shape", "SIZE_NEGATIVE"},
      {"overflow",
       [](auto* p) {
         p->input.spec.shape = {kHuge, kHuge};
       },
       "input.shape", "SHAPE_OVERFLOW"},
      {"overflow of bytes alone",
       [](auto* p) {
         p->input.spec.shape = {kHuge, int64_t{1} << 21U};
       },
       "input.shape", "SHAPE_OVERFLOW"},
      {"no classes",
       [](auto* p) {
         p->input.spec.shape = {2, 0};
       },
       "input.shape", "CLASSES_EMPTY"},
      {"too many dimensions", [](auto* p) { p->input.spec.shape = Shape(33, 1); }, "input.shape",
       "LIMIT_EXCEEDED", absl::StatusCode::kResourceExhausted},
      {"too many classes",
       [](auto* p) {
         p->input.spec.shape = {1, int64_t{1} << 25U};
       },
       "input.shape", "LIMIT_EXCEEDED", absl::StatusCode::kResourceExhausted},
      {"too many positions",
       [](auto* p) {
         p->input.spec.shape = {kHuge + 1, 1};
       },
       "input.shape", "LIMIT_EXCEEDED", absl::StatusCode::kResourceExhausted},
      {"target of another length", [](auto* p) { p->target.spec.shape = {3}; }, "target.shape",
       "SHAPE_MISMATCH"},
      {"target of another rank",
       [](auto* p) {
         p->target.spec.shape = {2, 1};
       },
       "target.shape", "SHAPE_MISMATCH"},
      {"probabilities of another shape",
       [](auto* p) {
         MakeProbabilities(p);
         p->target.spec.shape = {2, 4};
       },
       "target.shape", "SHAPE_MISMATCH"},
      {"probabilities of another type",
       [](auto* p) {
         MakeProbabilities(p);
         p->target.spec.dtype = DType::kFloat64;
       },
       "target.dtype", "DTYPE_MISMATCH"},
      {"class indices as floats",
       [](auto* p) {
         p->target = MakeTensor(DType::kFloat64, {2}, {0, 2});
       },
       "target.dtype", "DTYPE_MISMATCH"},
      {"class axis too great", [](auto* p) { p->criterion.cross_entropy().class_axis = 2; },
       "criterion.cross_entropy.class_axis", "CLASS_AXIS_RANGE"},
      {"class axis too small", [](auto* p) { p->criterion.cross_entropy().class_axis = -3; },
       "criterion.cross_entropy.class_axis", "CLASS_AXIS_RANGE"},
  };
}

std::vector<BadCase> BadOptions() {
  const std::string weight = "criterion.cross_entropy.weight";
  return {
      {"weight of another size",
       [](auto* p) {
         p->weight = MakeTensor(DType::kFloat32, {2}, {1, 1});
       },
       weight + ".shape", "SHAPE_MISMATCH"},
      {"weight of another rank",
       [](auto* p) {
         p->weight = MakeTensor(DType::kFloat32, {1, 3}, {1, 1, 1});
       },
       weight + ".shape", "SHAPE_MISMATCH"},
      {"weight of another type",
       [](auto* p) {
         p->weight = MakeTensor(DType::kFloat64, {3}, {1, 1, 1});
       },
       weight + ".dtype", "DTYPE_MISMATCH"},
      {"weight cut short",
       [](auto* p) {
         p->weight = MakeTensor(DType::kFloat32, {3}, {1, 1, 1});
         p->weight->bytes.pop_back();
       },
       weight, "LENGTH_MISMATCH"},
      {"smoothing above 1", [](auto* p) { p->criterion.cross_entropy().label_smoothing = 1.5; },
       "criterion.cross_entropy.label_smoothing", "LABEL_SMOOTHING_RANGE"},
      {"smoothing below 0", [](auto* p) { p->criterion.cross_entropy().label_smoothing = -0.1; },
       "criterion.cross_entropy.label_smoothing", "LABEL_SMOOTHING_RANGE"},
      {"smoothing NaN",
       [](auto* p) { p->criterion.cross_entropy().label_smoothing = std::nan(""); },
       "criterion.cross_entropy.label_smoothing", "LABEL_SMOOTHING_RANGE"},
      {"ignore_index with probabilities",
       [](auto* p) {
         MakeProbabilities(p);
         p->criterion.cross_entropy().ignore_index = 0;
       },
       "criterion.cross_entropy.ignore_index", "IGNORE_INDEX_WITH_PROBABILITIES"},
      {"normalizer zero", [](auto* p) { p->criterion.normalizer = 0.0; }, "criterion.normalizer",
       "NORMALIZER_RANGE"},
      {"normalizer infinite", [](auto* p) { p->criterion.normalizer = HUGE_VAL; },
       "criterion.normalizer", "NORMALIZER_RANGE"},
      {"normalizer without mean",
       [](auto* p) {
         p->criterion.normalizer = 2.0;
         p->criterion.reduction = Reduction::kSum;
       },
       "criterion.normalizer", "NORMALIZER_WITHOUT_MEAN"},
      {"incoming gradient unused",
       [](auto* p) { p->grad_output = MakeTensor(DType::kFloat32, {}, {1}); }, "grad_output",
       "GRAD_OUTPUT_UNUSED"},
      {"incoming gradient of another shape",
       [](auto* p) {
         p->outputs.grad_input = true;
         p->grad_output = MakeTensor(DType::kFloat32, {2}, {1, 1});
       },
       "grad_output.shape", "SHAPE_MISMATCH"},
      {"incoming gradient of another type",
       [](auto* p) {
         p->outputs.grad_input = true;
         p->grad_output = MakeTensor(DType::kInt32, {}, {1});
       },
       "grad_output.dtype", "DTYPE_MISMATCH"},
      {"gradient of class indices", [](auto* p) { p->outputs.grad_target = true; },
       "outputs.grad_target", "GRAD_TARGET_OF_CLASS_INDEX"},
      {"gradient of no weight", [](auto* p) { p->outputs.grad_weight = true; },
       "outputs.grad_weight", "GRAD_WEIGHT_WITHOUT_WEIGHT"},
  };
}

void ExpectRefused(const std::vector<BadCase>& cases) {
  for (const BadCase& bad : cases) {
    OwnedProblem problem = Good();
    ASSERT_TRUE(Plan::Create(problem.problem()).ok());
    bad.spoil(&problem);
    const auto plan = Plan::Create(problem.problem());
    ASSERT_FALSE(plan.ok()) << bad.name;
    EXPECT_EQ(plan.status().code(), bad.code) << bad.name;
    const ErrorDetail detail = GetErrorDetail(plan.status());
    EXPECT_EQ(detail.field, bad.field) << bad.name;
    EXPECT_EQ(detail.reason, bad.reason) << bad.name;
    EXPECT_NE(plan.status().message().find("expected"), absl::string_view::npos)
        << bad.name << ": " << plan.status().message();
  }
}

TEST(Plan, RefusesBadShapes) { ExpectRefused(BadShapes()); }
TEST(Plan, RefusesBadOptions) { ExpectRefused(BadOptions()); }

std::string Refusal(const OwnedProblem& problem) {
  return std::string(Plan::Create(problem.problem()).status().message());
}

TEST(Plan, SaysWhatATargetCouldBe) {
  OwnedProblem problem = Good();
  problem.target = MakeTensor(DType::kFloat64, {2}, {0, 2});
  EXPECT_EQ(Refusal(problem),
            "target.dtype: expected class indices of an integer type, or probabilities of shape "
            "(2, 3), got float64 of shape (2)");
  problem.target = MakeTensor(DType::kInt32, {2, 3}, {1, 0, 0, 0, 0, 1});
  EXPECT_EQ(Refusal(problem),
            "target.shape: expected (2), class indices of an input (2, 3) whose classes lie along "
            "axis 1 (class_axis), got (2, 3); probabilities are of a floating type");
}

TEST(Plan, NamesTheAxisThatALabelsShapeFits) {
  OwnedProblem problem;
  problem.input.spec = {DType::kFloat32, {2, 5, 3}};
  problem.target.spec = {DType::kInt64, {2, 5}};
  EXPECT_EQ(Refusal(problem),
            "target.shape: expected (2, 3), class indices of an input (2, 5, 3) whose classes lie "
            "along axis 1 (class_axis), got (2, 5); class_axis = -1 fits it");
  problem.target.spec.shape = {5, 3};
  EXPECT_NE(Refusal(problem).find("got (5, 3); class_axis = 0 fits it"), std::string::npos);
  problem.criterion.cross_entropy().class_axis = -1;
  EXPECT_NE(Refusal(problem).find("along axis 2 (class_axis), got (5, 3); class_axis = 0 fits it"),
            std::string::npos);
  problem.target.spec.shape = {5};
  EXPECT_EQ(Refusal(problem).find("fits"), std::string::npos);
}

TEST(Plan, IsCompletedByAWeightThatFollows) {
  OwnedProblem problem = Good();
  problem.weight = MakeTensor(DType::kFloat32, {3}, {0.25, 2, 1e-30});
  const auto whole = problem.plan();
  Problem stated = problem.problem();
  stated.weight->bytes = {};
  stated.weight_follows = true;
  const auto pending = Plan::Create(stated);
  ASSERT_TRUE(pending.ok()) << pending.status();
  EXPECT_TRUE((*pending)->weight_follows());
  EXPECT_TRUE((*pending)->has_weight());
  for (size_t cut = 0; cut <= 12; ++cut) {
    WeightValues values(DType::kFloat32, 3);
    const absl::Span<const std::byte> bytes = problem.weight->bytes;
    values.Append(bytes.first(cut));
    EXPECT_EQ(values.Full(), cut == 12);
    values.Append(bytes.subspan(cut));
    ASSERT_TRUE(values.Full());
    const auto plan = (*pending)->WithWeight(std::move(values));
    EXPECT_FALSE(plan->weight_follows());
    EXPECT_TRUE(plan->has_weight());
    EXPECT_EQ(plan->weight(), whole->weight()) << cut;
    EXPECT_EQ(plan->weight_sum(), whole->weight_sum()) << cut;
  }
  // Everything else is checked before any byte of the weight comes.
  stated.weight->spec.shape = {4};
  EXPECT_EQ(GetErrorDetail(Plan::Create(stated).status()).field,
            "criterion.cross_entropy.weight.shape");
}

TEST(Plan, AllowsWhatIsOddButRight) {
  OwnedProblem problem = Good();
  MakeProbabilities(&problem);
  problem.criterion.cross_entropy().ignore_index = -5;  // Allowed with probabilities if negative.
  EXPECT_TRUE(Plan::Create(problem.problem()).ok());
  problem = Good();
  problem.criterion.cross_entropy().ignore_index = 1000;  // Need not be a class.
  EXPECT_TRUE(Plan::Create(problem.problem()).ok());
  problem.criterion.normalizer = -2.0;
  EXPECT_TRUE(Plan::Create(problem.problem()).ok());
}

TEST(Plan, HalfInputTakesFloat32Companions) {
  for (const DType half : {DType::kFloat16, DType::kBFloat16}) {
    for (const DType companion : {half, DType::kFloat32}) {
      OwnedProblem problem;
      problem.input = MakeTensor(half, {2, 3}, {1, 2, 3, 4, 5, 6});
      problem.target = MakeTensor(companion, {2, 3}, {1, 0, 0, 0, 1, 0});
      problem.weight = MakeTensor(companion, {3}, {1, 1, 1});
      EXPECT_TRUE(Plan::Create(problem.problem()).ok());
    }
  }
}

TEST(Plan, PositionsAndInner) {
  OwnedProblem problem;
  problem.input.spec = {DType::kFloat32, {2, 3, 4, 5}};
  problem.target.spec = {DType::kInt64, {2, 4, 5}};
  auto plan = Plan::Create(problem.problem()).value();
  EXPECT_EQ(plan->inner(), 20);
  EXPECT_EQ(plan->samples(), 2);
  EXPECT_EQ(plan->positions(), 40);
  problem.criterion.cross_entropy().class_axis = -1;
  problem.target.spec.shape = {2, 3, 4};
  plan = Plan::Create(problem.problem()).value();
  EXPECT_EQ(plan->inner(), 1);
  EXPECT_EQ(plan->classes(), 5);
  EXPECT_EQ(plan->positions(), 24);
}

}  // namespace
}  // namespace lossd::testing
