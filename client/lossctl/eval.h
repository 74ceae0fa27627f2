// `lossctl eval`: evaluates the loss of files.
#ifndef LOSSD_CLIENT_LOSSCTL_EVAL_H_
#define LOSSD_CLIENT_LOSSCTL_EVAL_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/criterion.h"

namespace lossd {

struct EvalFlags {
  std::string input;
  std::string target;
  std::string weight;
  std::string grad_output;
  std::string reduction = "mean";
  std::optional<bool> size_average;
  std::optional<bool> reduce;
  std::string criterion = "cross_entropy";
  std::optional<int64_t> ignore_index;
  std::optional<double> label_smoothing;
  std::optional<int32_t> class_axis;
  std::string empty_mean = "nan";
  std::optional<double> normalizer;
  uint32_t top_k = 0;
  std::string transport = "auto";
  bool grad = false;
  bool json = false;
  std::string loss_out;
  std::string grad_out;
  std::string grad_target_out;
  std::string grad_weight_out;
  std::string log_sum_exp_out;
};

void AddEvalFlags(CLI::App* app, EvalFlags* flags);

/// Reads the input files, evaluates, and writes the requested output files. Returns the text to
/// show.
absl::StatusOr<std::string> RunEval(const EvalFlags& flags, Client* client);

/// The reduction for PyTorch's deprecated arguments, as torch.nn._reduction maps them. An absent
/// argument counts as true.
Reduction LegacyReduction(std::optional<bool> size_average, std::optional<bool> reduce);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_EVAL_H_
