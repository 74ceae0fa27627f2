#include "tests/support/vectors.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lossd::testing {
namespace {

using Json = nlohmann::json;

std::vector<double> Numbers(const Json& json) {
  std::vector<double> numbers;
  for (const Json& item : json) {
    if (!item.is_string()) {
      numbers.push_back(item.get<double>());
    } else if (item == "nan") {
      numbers.push_back(std::numeric_limits<double>::quiet_NaN());
    } else {
      numbers.push_back(item == "inf" ? HUGE_VAL : -HUGE_VAL);
    }
  }
  return numbers;
}

DType DTypeByName(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(DType::kUInt64); ++i) {
    if (name == std::string(Name(static_cast<DType>(i)))) return static_cast<DType>(i);
  }
  std::cerr << "unknown dtype " << name << "\n";
  std::abort();
}

Shape ShapeOf(const Json& json) {
  Shape shape;
  for (const Json& size : json) shape.push_back(size.get<int64_t>());
  return shape;
}

Vector Parse(const Json& json) {
  Vector vector;
  vector.name = json.at("name");
  OwnedProblem& problem = vector.problem;
  const Shape shape = ShapeOf(json.at("shape"));
  problem.input = MakeTensor(DTypeByName(json.at("dtype")), shape, Numbers(json.at("input")));
  const Json& target = json.at("target");
  problem.target = MakeTensor(DTypeByName(target.at("dtype")), ShapeOf(target.at("shape")),
                              Numbers(target.at("values")));
  const std::string reduction = json.at("reduction");
  problem.criterion.reduction = reduction == "none"  ? Reduction::kNone
                                : reduction == "sum" ? Reduction::kSum
                                                     : Reduction::kMean;
  problem.criterion.kind = KindNamed(json.value("criterion", "cross_entropy")).value();
  ClassOptions& options = problem.criterion.class_options();
  if (json.contains("class_axis")) options.class_axis = json["class_axis"].get<int>();
  if (json.contains("ignore_index")) options.ignore_index = json["ignore_index"].get<int64_t>();
  if (json.contains("label_smoothing")) {
    problem.criterion.cross_entropy().label_smoothing = json["label_smoothing"];
  }
  if (json.contains("weight")) {
    const auto values = Numbers(json["weight"].at("values"));
    problem.weight = MakeTensor(DTypeByName(json["weight"].at("dtype")),
                                {static_cast<int64_t>(values.size())}, values);
  }
  if (json.contains("grad_output")) {
    const auto values = Numbers(json["grad_output"].at("values"));
    // grad_output has the shape of the loss, which only a plan knows.
    problem.outputs.grad_input = true;
    const Shape loss_shape = problem.plan()->LossShape();
    problem.grad_output =
        MakeTensor(DTypeByName(json["grad_output"].at("dtype")), loss_shape, values);
  }
  const Json& expect = json.at("expect");
  vector.loss = Numbers(expect.at("loss"));
  vector.grad_input = Numbers(expect.at("grad_input"));
  problem.outputs.grad_input = true;
  problem.outputs.log_sum_exp = true;
  problem.outputs.top_k = 2;
  if (expect.contains("grad_target")) {
    vector.grad_target = Numbers(expect["grad_target"]);
    problem.outputs.grad_target = true;
  }
  if (expect.contains("grad_weight")) {
    vector.grad_weight = Numbers(expect["grad_weight"]);
    problem.outputs.grad_weight = true;
  }
  return vector;
}

/// A few roundings of the type, and the absolute error of float64 results.
struct Tolerance {
  double relative;
  double absolute;
};
Tolerance ToleranceOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return {1e-13, 1e-13};
    case DType::kFloat16:
      return {0x1p-10, 0x1p-24};
    case DType::kBFloat16:
      return {0x1p-7, 1e-9};
    default:
      return {3e-7, 1e-7};
  }
}

std::string Compare(const std::string& what, DType dtype, const std::vector<double>& expected,
                    const Bytes& bytes) {
  const std::vector<double> got = Values(dtype, bytes);
  if (got.size() != expected.size()) {
    return absl::StrCat(what, ": expected ", expected.size(), " values, got ", got.size());
  }
  const Tolerance tolerance = ToleranceOf(dtype);
  for (size_t i = 0; i < got.size(); ++i) {
    const double e = expected[i];
    const double g = got[i];
    if (std::isnan(e) && std::isnan(g)) continue;
    if (e == g) {
      if (g == 0 && std::signbit(g)) return absl::StrCat(what, "[", i, "] is -0");
      continue;
    }
    if (std::abs(e - g) <= tolerance.relative * std::abs(e) + tolerance.absolute) continue;
    return absl::StrCat(what, "[", i, "]: expected ", e, ", got ", g);
  }
  return "";
}

}  // namespace

const std::vector<Vector>& AllVectors() {
  static const auto* vectors = [] {
    auto* all = new std::vector<Vector>();  // Never deleted.
    std::set<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(LOSSD_TEST_DATA)) {
      if (entry.path().extension() == ".jsonl") paths.insert(entry.path());
    }
    for (const auto& path : paths) {
      std::ifstream file(path);
      for (std::string line; std::getline(file, line);) all->push_back(Parse(Json::parse(line)));
    }
    if (all->size() < 600) {
      std::cerr << "expected at least 600 vectors, got " << all->size() << "\n";
      std::abort();
    }
    return all;
  }();
  return *vectors;
}

std::string Check(const Vector& vector, const Results& results) {
  const auto plan = vector.problem.plan();
  std::string wrong = Compare("loss", plan->loss_dtype(), vector.loss, results.loss);
  if (!wrong.empty()) return wrong;
  wrong = Compare("grad_input", plan->input().dtype, vector.grad_input, results.grad_input);
  if (!wrong.empty() || plan->target_kind() == TargetKind::kClassIndex) return wrong;
  wrong = Compare("grad_target", plan->target().dtype, vector.grad_target, results.grad_target);
  if (!wrong.empty() || vector.grad_weight.empty()) return wrong;
  return Compare("grad_weight", plan->WeightDType(), vector.grad_weight, results.grad_weight);
}

}  // namespace lossd::testing
