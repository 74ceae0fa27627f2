#include "client/lossctl/show.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/dtype.h"
#include "core/problem/load.h"
#include "core/problem/tensor.h"
#include "core/sums/summary.h"

namespace lossd {
namespace {

using Json = nlohmann::ordered_json;

/// A tensor with more values is cut to this many in text.
constexpr size_t kShownValues = 64;

std::vector<double> Values(const Tensor& tensor) {
  std::vector<double> values(tensor.bytes().size() / SizeOf(tensor.spec().dtype));
  LoadAsDouble(tensor.spec().dtype, tensor.bytes().data(), values.size(), values.data());
  return values;
}

/// NaN and infinities are strings, as in protobuf's JSON: JSON itself has no such numbers.
Json Number(double value, DType dtype) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  // Nine digits identify a float; the double that it is widened to would print with more.
  if (dtype != DType::kFloat64) return Json::parse(absl::StrFormat("%.9g", value));
  return value;
}

Json ToJson(const Tensor& tensor) {
  Json values = Json::array();
  for (const double value : Values(tensor)) values.push_back(Number(value, tensor.spec().dtype));
  Json shape = Json::array();
  for (const int64_t size : tensor.spec().shape) shape.push_back(size);
  return {{"dtype", std::string(Name(tensor.spec().dtype))}, {"shape", shape}, {"values", values}};
}

void Append(absl::string_view name, const Tensor& tensor, std::string* to) {
  const int digits = tensor.spec().dtype == DType::kFloat64 ? 17 : 9;
  const std::vector<double> values = Values(tensor);
  if (tensor.spec().shape.empty()) {
    absl::StrAppendFormat(to, "%s: %.*g\n", name, digits, values[0]);
    return;
  }
  absl::StrAppend(to, name, " ", ToString(tensor.spec().shape), " ", Name(tensor.spec().dtype),
                  ":");
  for (size_t i = 0; i < std::min(values.size(), kShownValues); ++i) {
    absl::StrAppendFormat(to, " %.*g", digits, values[i]);
  }
  absl::StrAppend(to, values.size() > kShownValues ? " ...\n" : "\n");
}

}  // namespace

std::string Show(const EvalFlags& flags, const LossResult& result) {
  const Summary& summary = result.summary;
  const double normalizer = ToDouble(summary.normalizer);
  if (flags.json) {
    Json json = {{"loss", ToJson(result.loss)},
                 {"normalizer", Number(normalizer, DType::kFloat64)},
                 {"positions", summary.positions},
                 {"ignored", summary.ignored},
                 {"correct", summary.correct}};
    if (flags.top_k > 0) json["correct_top_k"] = summary.correct_top_k;
    if (flags.grad) json["grad_input"] = ToJson(result.grad_input);
    return json.dump() + "\n";
  }
  std::string text;
  Append("loss", result.loss, &text);
  if (flags.grad) Append("grad_input", result.grad_input, &text);
  absl::StrAppendFormat(&text, "normalizer: %.17g\n", normalizer);
  absl::StrAppend(&text, "positions: ", summary.positions, " (", summary.ignored, " ignored, ",
                  summary.correct, " correct");
  if (flags.top_k > 0) {
    absl::StrAppend(&text, ", ", summary.correct_top_k, " in the top ", flags.top_k);
  }
  absl::StrAppend(&text, ")\n");
  return text;
}

}  // namespace lossd
