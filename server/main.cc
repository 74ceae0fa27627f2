// lossd: reads the settings and runs a server until a signal; the rest is in other files.
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/passes/row_kernels.h"
#include "proto/codec/version.h"
#include "server/flags.h"
#include "server/server.h"
#include "server/stop_signals.h"

namespace {

void SetUpLogs(const std::string& level) {
  auto logger = spdlog::stderr_color_mt("lossd");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(level));
  // gRPC's own log lines serve to debug gRPC; errors that matter come back as a status.
  gpr_set_log_function([](gpr_log_func_args* args) {
    spdlog::debug("grpc {}:{} {}", args->file, args->line, args->message);
  });
}

/// Raises the limit of open files as far as the system allows, and returns it. Every connection
/// takes a descriptor, and once none was left, gRPC 1.51 never accepts a new connection again.
std::string RaiseOpenFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    spdlog::warn("open_files={} cannot be raised: {}", before, std::strerror(errno));
    limit.rlim_cur = before;
  }
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : absl::StrCat(limit.rlim_cur);
}

/// Serves until SIGTERM or SIGINT, then shuts down in order.
void RunUntilSignal(lossd::Server* server, const lossd::Settings& settings) {
  const int signal = lossd::WaitForStopSignal();
  spdlog::info("signal={} state=stopping grace_s={} drain_s={}", signal,
               absl::ToDoubleSeconds(settings.shutdown_grace),
               absl::ToDoubleSeconds(settings.drain_timeout));
  server->StopAdvertising();
  absl::SleepFor(settings.shutdown_grace);
  server->Shutdown(settings.drain_timeout);
  spdlog::info("state=stopped");
}

int Fail(absl::string_view message) {
  std::fprintf(stderr, "lossd: %s\n", std::string(message).c_str());
  return 1;
}

int Print(const std::string& text) {
  const bool printed = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  return printed ? 0 : Fail(absl::StrCat("standard output: ", std::strerror(errno)));
}

int Run(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  lossd::WatchStopSignals();
  std::signal(SIGPIPE, SIG_IGN);
  const auto invocation = lossd::ParseFlags(arguments, environment, lossd::ReadSmallFile);
  if (!invocation.ok()) return Fail(invocation.status().message());
  using Action = lossd::Invocation::Action;
  if (invocation->action == Action::kShowHelp) return Print(lossd::HelpText());
  if (invocation->action == Action::kShowVersion) return Print(absl::StrCat(lossd::kVersion, "\n"));
  SetUpLogs(invocation->settings.log_level);
  for (const std::string& warning : invocation->warnings) spdlog::warn("{}", warning);
  const std::string open_files = RaiseOpenFiles();
  auto server = lossd::Server::Start(invocation->settings.server);
  if (!server.ok()) return Fail(server.status().message());
  lossd::KeepFirstStopSignal();
  spdlog::info("state=serving version={} listen={} threads={} instruction_set={} open_files={}",
               lossd::kVersion, absl::StrJoin((*server)->addresses(), ","), (*server)->threads(),
               lossd::InstructionSet(), open_files);
  RunUntilSignal(server->get(), invocation->settings);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::string> variables;
    for (char** one = environ; *one != nullptr; ++one) variables.emplace_back(*one);
    return Run({argv + (argc > 0 ? 1 : 0), argv + argc}, variables);
  } catch (const std::exception& error) {  // Out of memory, or from a library.
    std::fprintf(stderr, "lossd: %s\n", error.what());
    return 1;
  }
}
