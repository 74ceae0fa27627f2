#include "client/lossctl/eval.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"
#include "client/lossctl/file.h"
#include "client/lossctl/npy.h"
#include "client/lossctl/progress_line.h"
#include "client/lossctl/show.h"
#include "core/problem/criterion.h"
#include "core/problem/cross_entropy.h"
#include "core/problem/error.h"

namespace lossd {
namespace {

/// The arrays of the input files.
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

LossRequest MakeRequest(const EvalFlags& flags, const std::shared_ptr<const Files>& files) {
  LossRequest request;
  request.input = files->input.view;
  request.target = files->target.view;
  if (files->weight) request.weight = files->weight->view;
  if (files->grad_output) request.grad_output = files->grad_output->view;
  request.owner = files;
  Criterion* criterion = &request.criterion;
  criterion->reduction = flags.reduction == "none"  ? Reduction::kNone
                         : flags.reduction == "sum" ? Reduction::kSum
                                                    : Reduction::kMean;
  if (flags.size_average || flags.reduce) {
    std::cerr << "lossctl: warning: --size-average and --reduce are deprecated; use --reduction\n";
    criterion->reduction = LegacyReduction(flags.size_average, flags.reduce);
  }
  criterion->kind = *KindNamed(flags.criterion);
  criterion->class_options() = {flags.ignore_index, flags.class_axis};
  if (flags.label_smoothing) criterion->cross_entropy().label_smoothing = *flags.label_smoothing;
  criterion->empty_mean = flags.empty_mean == "zero" ? EmptyMean::kZero : EmptyMean::kNaN;
  criterion->normalizer = flags.normalizer;
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

absl::Status WriteOutputs(const EvalFlags& flags, const LossResult& result) {
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
  app->add_option("--criterion", flags->criterion, "The loss")
      ->check(CLI::IsMember(KindNames()))
      ->capture_default_str();
  app->add_option("--reduction", flags->reduction, "none, sum or mean")
      ->check(CLI::IsMember({"none", "sum", "mean"}))
      ->capture_default_str();
  app->add_option("--size-average", flags->size_average,
                  "Deprecated, as in PyTorch: true or false");
  app->add_option("--reduce", flags->reduce, "Deprecated, as in PyTorch: true or false");
  app->add_option("--ignore-index", flags->ignore_index,
                  "Label of positions that do not count [-100]");
  app->add_option("--label-smoothing", flags->label_smoothing, "In [0, 1], of cross_entropy [0]");
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

absl::StatusOr<std::string> RunEval(const EvalFlags& flags, Client* client) {
  if (flags.label_smoothing && flags.criterion != CrossEntropy::kName) {
    return InvalidField("label_smoothing", "LABEL_SMOOTHING_RANGE",
                        "expected none: only cross_entropy has it, not ", flags.criterion);
  }
  LOSSD_RETURN_IF_ERROR(CheckOutputs({flags.loss_out, flags.grad_out, flags.grad_target_out,
                                      flags.grad_weight_out, flags.log_sum_exp_out}));
  auto files = ReadFiles(flags);
  if (!files.ok()) return files.status();
  LossRequest request = MakeRequest(flags, std::make_shared<const Files>(*std::move(files)));
  std::optional<ProgressLine> progress;
  if (isatty(STDERR_FILENO) != 0 && !flags.json) {
    progress.emplace(request.input.bytes.size() + request.target.bytes.size() +
                     (request.weight ? request.weight->bytes.size() : 0) +
                     (request.grad_output ? request.grad_output->bytes.size() : 0));
    request.progress = [&progress](uint64_t sent, uint64_t received) {
      progress->Update(sent, received);
    };
  }
  auto result = client->Evaluate(request);
  progress.reset();
  if (!result.ok()) return result.status();
  LOSSD_RETURN_IF_ERROR(WriteOutputs(flags, *result));
  return Show(flags, *result);
}

}  // namespace lossd
