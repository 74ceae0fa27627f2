// lossctl: the command-line client. Evaluates files; measures and describes a server.
#include <grpc/support/log.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cpp/lossd/client.h"
#include "client/lossctl/bench.h"
#include "client/lossctl/eval.h"
#include "client/lossctl/output.h"
#include "core/problem/error.h"
#include "proto/codec/version.h"

namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::string> RunInfo(bool as_json, lossd::Client* client) {
  const auto info = client->GetServerInfo();
  if (!info.ok()) return info.status();
  const lossd::ServerLimits& limits = info->limits;
  const Json json = {{"version", info->version},
                     {"instruction_set", info->instruction_set},
                     {"threads", info->threads},
                     {"shared_memory", info->shared_memory},
                     {"limits",
                      {{"max_message_bytes", limits.max_message_bytes},
                       {"max_rank", limits.max_rank},
                       {"max_classes", limits.max_classes},
                       {"max_positions", limits.max_positions},
                       {"max_label_bytes", limits.max_label_bytes},
                       {"max_stream_skew_bytes", limits.max_stream_skew_bytes},
                       {"stream_window_bytes", limits.stream_window_bytes},
                       {"max_memory_bytes", limits.max_memory_bytes}}}};
  if (as_json) return json.dump() + "\n";
  std::string text;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_object()) absl::StrAppend(&text, key, ": ", value.dump(), "\n");
  }
  for (const auto& [key, value] : json["limits"].items()) {
    absl::StrAppend(&text, key, ": ", value.dump(), "\n");
  }
  return text;
}

absl::StatusOr<std::string> RunHealth(const std::string& service, lossd::Client* client) {
  if (absl::Status status = client->CheckHealth(service); !status.ok()) return status;
  return "SERVING\n";
}

int Fail(const absl::Status& status) {
  const lossd::ErrorDetail detail = lossd::GetErrorDetail(status);
  std::cerr << "lossctl: " << absl::StatusCodeToString(status.code()) << ": "
            << std::string(status.message());
  if (!detail.reason.empty()) std::cerr << " [" << detail.reason << "]";
  std::cerr << "\n";
  return 1;
}

/// Shows the result of a command. Returns the exit status.
int Finish(const absl::StatusOr<std::string>& text) {
  const absl::Status status = text.ok() ? lossd::WriteOutput(*text) : text.status();
  return status.ok() ? 0 : Fail(status);
}

int Run(int argc, char** argv) {
  // Errors of gRPC are returned as statuses, so its log is not needed.
  gpr_set_log_function([](gpr_log_func_args*) {});
  CLI::App app("lossctl: cross-entropy losses and gradients from a lossd server.");
  app.set_version_flag("--version", lossd::kVersion);
  app.require_subcommand(1);
  app.fallthrough();
  std::string server = "127.0.0.1:50051";
  app.add_option("--server", server, "Server address, HOST:PORT or unix:PATH")
      ->envname("LOSSD_SERVER")
      ->capture_default_str();
  double timeout_s = 0;
  app.add_option("--timeout", timeout_s,
                 "Seconds that a call may take; 0: no limit for eval and bench, 5 for the others")
      ->check(CLI::NonNegativeNumber);
  lossd::EvalFlags eval_flags;
  CLI::App* eval = app.add_subcommand("eval", "Evaluate the loss of .npy or .npz files");
  lossd::AddEvalFlags(eval, &eval_flags);
  CLI::App* health = app.add_subcommand("health", "Ask whether a server serves; exit 1 if not");
  std::string service;
  health->add_option("--service", service, "Full service name; empty: the server as a whole");
  CLI::App* info = app.add_subcommand("info", "Show version, instruction set and limits");
  bool info_json = false;
  info->add_flag("--json", info_json, "Print one line of JSON");
  lossd::BenchFlags bench_flags;
  CLI::App* bench = app.add_subcommand("bench", "Measure a server under load");
  lossd::AddBenchFlags(bench, &bench_flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // Also thrown for --help and --version.
    std::ostringstream text;
    const int code = app.exit(error, text, std::cerr);
    const int written = Finish(text.str());
    return code != 0 ? code : written;
  }

  lossd::ClientOptions options;
  if (timeout_s == 0 && !eval->parsed() && !bench->parsed()) timeout_s = 5;
  if (timeout_s > 0) options.timeout = absl::Seconds(timeout_s);
  if (bench->parsed()) return Finish(lossd::RunBench(bench_flags, server, options));
  auto client = lossd::Client::Connect(server, options);
  if (!client.ok()) return Fail(client.status());
  if (eval->parsed()) return Finish(lossd::RunEval(eval_flags, client->get()));
  if (health->parsed()) return Finish(RunHealth(service, client->get()));
  return Finish(RunInfo(info_json, client->get()));
}

}  // namespace

int main(int argc, char** argv) {
  lossd::PrepareStandardStreams();
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // std::bad_alloc, or an exception of a library.
    std::fprintf(stderr, "lossctl: %s\n", error.what());
    return 1;
  }
}
