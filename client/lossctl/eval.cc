#include "client/lossctl/eval.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/lossd/client.h"
#include "client/lossctl/npy.h"
#include "core/error.h"
#include "core/load.h"
#include "core/options.h"
#include "core/tensor.h"

namespace lossd {
namespace {

using Json = nlohmann::ordered_json;

/// Values shown of a tensor on a terminal before it is cut.
constexpr size_t kShownValues = 64;

std::vector<double> Values(const Tensor& tensor) {
  std::vector<double> values(tensor.bytes().size() / SizeOf(tensor.spec().dtype));
  LoadAsDouble(tensor.spec().dtype, tensor.bytes().data(), values.size(), values.data());
  return values;
}

/// As protobuf's JSON spells them: JSON itself has no such numbers.
Json Number(double value, DType dtype) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  // The shortest decimals of a float, not of the double that it is widened to.
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

void Print(absl::string_view name, const Tensor& tensor) {
  const int digits = tensor.spec().dtype == DType::kFloat64 ? 17 : 9;
  const std::vector<double> values = Values(tensor);
  if (tensor.spec().shape.empty()) {
    std::cout << absl::StreamFormat("%s: %.*g\n", name, digits, values[0]);
    return;
  }
  std::cout << name << " " << ToString(tensor.spec().shape) << " "
            << std::string(Name(tensor.spec().dtype)) << ":";
  for (size_t i = 0; i < std::min(values.size(), kShownValues); ++i) {
    std::cout << absl::StreamFormat(" %.*g", digits, values[i]);
  }
  std::cout << (values.size() > kShownValues ? " ...\n" : "\n");
}

/// A line that is drawn again a few times a second while bytes move.
class ProgressLine {
 public:
  explicit ProgressLine(uint64_t total) : total_(std::max<uint64_t>(1, total)) {}
  ~ProgressLine() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Update(uint64_t sent, uint64_t received) {
    const absl::Time now = absl::Now();
    if (now - last_ < absl::Milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    const double seconds = absl::ToDoubleSeconds(now - start_);
    const std::string line = absl::StrFormat(
        "\r\033[Ksent %.0f%% (%.0f MiB, %.0f MiB/s), received %.0f MiB",
        100.0 * static_cast<double>(sent) / static_cast<double>(total_),
        static_cast<double>(sent) / 1048576, static_cast<double>(sent) / 1048576 / seconds,
        static_cast<double>(received) / 1048576);
    std::fputs(line.c_str(), stderr);
  }

 private:
  const uint64_t total_;
  const absl::Time start_ = absl::Now();
  absl::Time last_ = start_;
  bool drawn_ = false;
};

/// What the files hold.
struct Files {
  NpyArray input;
  NpyArray target;
  std::optional<NpyArray> weight;
  std::optional<NpyArray> grad_output;
};

absl::StatusOr<Files> ReadFiles(const EvalFlags& flags) {
  Files files;
  auto input = ReadNpy(flags.input, "input");
  if (!input.ok()) return input.status();
  files.input = *std::move(input);
  auto target = ReadNpy(flags.target, "target");
  if (!target.ok()) return target.status();
  files.target = *std::move(target);
  if (!flags.weight.empty()) {
    auto weight = ReadNpy(flags.weight, "weight");
    if (!weight.ok()) return weight.status();
    files.weight = *std::move(weight);
  }
  if (!flags.grad_output.empty()) {
    auto grad_output = ReadNpy(flags.grad_output, "grad_output");
    if (!grad_output.ok()) return grad_output.status();
    files.grad_output = *std::move(grad_output);
  }
  return files;
}

CrossEntropyRequest MakeRequest(const EvalFlags& flags, const std::shared_ptr<const Files>& files) {
  CrossEntropyRequest request;
  request.input = files->input.view;
  request.target = files->target.view;
  if (files->weight) request.weight = files->weight->view;
  if (files->grad_output) request.grad_output = files->grad_output->view;
  request.owner = files;
  Options* options = &request.options;
  options->reduction = flags.reduction == "none"  ? Reduction::kNone
                       : flags.reduction == "sum" ? Reduction::kSum
                                                  : Reduction::kMean;
  if (flags.size_average || flags.reduce) {
    std::cerr << "lossctl: warning: --size-average and --reduce are deprecated; use --reduction\n";
    options->reduction = LegacyReduction(flags.size_average, flags.reduce);
  }
  options->ignore_index = flags.ignore_index;
  options->label_smoothing = flags.label_smoothing;
  options->class_axis = flags.class_axis;
  options->empty_mean = flags.empty_mean == "zero" ? EmptyMean::kZero : EmptyMean::kNaN;
  options->normalizer = flags.normalizer;
  request.outputs.grad_input = flags.grad || !flags.grad_out.empty();
  request.outputs.grad_target = !flags.grad_target_out.empty();
  request.outputs.grad_weight = !flags.grad_weight_out.empty();
  request.outputs.log_sum_exp = !flags.log_sum_exp_out.empty();
  request.outputs.top_k = flags.top_k;
  request.transport = flags.transport == "unary"    ? Transport::kUnary
                      : flags.transport == "stream" ? Transport::kStream
                                                    : Transport::kAuto;
  return request;
}

absl::Status WriteOutputs(const EvalFlags& flags, const CrossEntropyResult& result) {
  const std::vector<std::pair<const std::string*, const Tensor*>> outputs = {
      {&flags.loss_out, &result.loss},
      {&flags.grad_out, &result.grad_input},
      {&flags.grad_target_out, &result.grad_target},
      {&flags.grad_weight_out, &result.grad_weight},
      {&flags.log_sum_exp_out, &result.log_sum_exp}};
  for (const auto& [path, tensor] : outputs) {
    if (path->empty()) continue;
    LOSSD_RETURN_IF_ERROR(WriteNpy(*path, {tensor->spec(), tensor->bytes()}));
  }
  return absl::OkStatus();
}

void Show(const EvalFlags& flags, const CrossEntropyResult& result) {
  const Summary& summary = result.summary;
  if (flags.json) {
    Json json = {{"loss", ToJson(result.loss)},
                 {"positions", summary.positions},
                 {"ignored", summary.ignored},
                 {"correct", summary.correct}};
    if (flags.top_k > 0) json["correct_top_k"] = summary.correct_top_k;
    if (flags.grad) json["grad_input"] = ToJson(result.grad_input);
    std::cout << json.dump() << "\n";
    return;
  }
  Print("loss", result.loss);
  if (flags.grad) Print("grad_input", result.grad_input);
  std::cout << "positions: " << summary.positions << " (" << summary.ignored << " ignored, "
            << summary.correct << " correct";
  if (flags.top_k > 0) std::cout << ", " << summary.correct_top_k << " in the top " << flags.top_k;
  std::cout << ")\n";
}

}  // namespace

Reduction LegacyReduction(std::optional<bool> size_average, std::optional<bool> reduce) {
  if (!reduce.value_or(true)) return Reduction::kNone;
  return size_average.value_or(true) ? Reduction::kMean : Reduction::kSum;
}

void AddEvalFlags(CLI::App* app, EvalFlags* flags) {
  const std::string file = "FILE.npy, FILE.npz or FILE.npz:KEY";
  app->add_option("--input", flags->input, "Logits (C), (N, C) or (N, C, d1, ..., dK): " + file)
      ->required();
  app->add_option("--target", flags->target,
                  "Class indices (integers), or probabilities of the input's shape: " + file)
      ->required();
  app->add_option("--weight", flags->weight, "A weight for each class, (C): " + file);
  app->add_option("--grad-output", flags->grad_output,
                  "Incoming gradient, of the loss's shape: " + file);
  app->add_option("--reduction", flags->reduction, "none, sum or mean")
      ->check(CLI::IsMember({"none", "sum", "mean"}))
      ->capture_default_str();
  app->add_option("--size-average", flags->size_average,
                  "Deprecated, as in PyTorch: true or false");
  app->add_option("--reduce", flags->reduce, "Deprecated, as in PyTorch: true or false");
  app->add_option("--ignore-index", flags->ignore_index,
                  "Label of positions that do not count [-100]");
  app->add_option("--label-smoothing", flags->label_smoothing, "In [0, 1]")->capture_default_str();
  app->add_option("--class-axis", flags->class_axis,
                  "Axis of the input that holds the classes [1, or 0 for one dimension]");
  app->add_option("--empty-mean", flags->empty_mean, "Mean where no position counts: nan or zero")
      ->check(CLI::IsMember({"nan", "zero"}))
      ->capture_default_str();
  app->add_option("--normalizer", flags->normalizer, "Divides in place of the sum of weights");
  app->add_option("--top-k", flags->top_k, "Count positions whose class is among the k greatest");
  app->add_option("--transport", flags->transport, "auto (by size), unary or stream")
      ->check(CLI::IsMember({"auto", "unary", "stream"}))
      ->capture_default_str();
  app->add_flag("--grad", flags->grad, "Show the gradient of the input");
  app->add_flag("--json", flags->json, "Print one line of JSON");
  app->add_option("--loss-out", flags->loss_out, "Write the loss to this .npy file");
  app->add_option("--grad-out", flags->grad_out, "Write the gradient of the input");
  app->add_option("--grad-target-out", flags->grad_target_out,
                  "Write the gradient of a probability target");
  app->add_option("--grad-weight-out", flags->grad_weight_out, "Write the gradient of the weight");
  app->add_option("--log-sum-exp-out", flags->log_sum_exp_out,
                  "Write the log-sum-exp of each position");
}

absl::Status RunEval(const EvalFlags& flags, Client* client) {
  auto files = ReadFiles(flags);
  if (!files.ok()) return files.status();
  CrossEntropyRequest request =
      MakeRequest(flags, std::make_shared<const Files>(*std::move(files)));
  std::optional<ProgressLine> progress;
  if (isatty(STDERR_FILENO) != 0 && !flags.json) {
    progress.emplace(request.input.bytes.size() + request.target.bytes.size() +
                     (request.grad_output ? request.grad_output->bytes.size() : 0));
    request.progress = [&progress](uint64_t sent, uint64_t received) {
      progress->Update(sent, received);
    };
  }
  auto result = client->CrossEntropy(request);
  progress.reset();
  if (!result.ok()) return result.status();
  LOSSD_RETURN_IF_ERROR(WriteOutputs(flags, *result));
  Show(flags, *result);
  return absl::OkStatus();
}

}  // namespace lossd
