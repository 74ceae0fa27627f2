// lossd: flags, logs, signals; everything else is in server.h.
#include <grpc/support/log.h>
#include <pthread.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/row_kernels.h"
#include "proto/codec/version.h"
#include "server/server.h"

namespace {

struct Flags {
  lossd::ServerOptions server;
  std::string log_level = "info";
  double shutdown_grace_s = 0;
  double drain_timeout_s = 10;
};

/// Every flag has an environment variable and a line in a config file (--config=FILE, TOML or INI).
/// A flag in seconds; 0 stands for no limit.
void AddDuration(CLI::App* app, const std::string& flag, const std::string& variable,
                 absl::Duration* to, const std::string& help) {
  app->add_option_function<double>(
         flag,
         [to](const double& seconds) {
           *to = seconds > 0 ? absl::Seconds(seconds) : absl::InfiniteDuration();
         },
         help)
      ->envname(variable)
      ->check(CLI::Range(0.0, 1e6))
      ->default_str(*to == absl::InfiniteDuration() ? "0"
                                                    : absl::StrCat(absl::ToDoubleSeconds(*to)));
}

void AddFlags(CLI::App* app, Flags* flags) {
  app->set_version_flag("--version", lossd::kVersion);
  app->set_config("--config", "", "Read flags from this file")->envname("LOSSD_CONFIG");
  app->add_option("--listen", flags->server.listen,
                  "Address to listen on, HOST:PORT or unix:PATH; may be given several times")
      ->envname("LOSSD_LISTEN")
      ->delimiter(',')
      ->capture_default_str();
  app->add_option("--threads", flags->server.threads, "Worker threads; 0: one for each core")
      ->envname("LOSSD_THREADS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->add_option("--max-memory", flags->server.max_memory_bytes,
                  "Bytes that all calls in flight may hold; 512MiB and the like are understood")
      ->envname("LOSSD_MAX_MEMORY")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  app->add_option("--max-message-bytes", flags->server.max_message_bytes,
                  "Bytes of one received message; larger tensors are streamed")
      ->envname("LOSSD_MAX_MESSAGE_BYTES")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(uint64_t{1} << 16U, uint64_t{1} << 30U))
      ->capture_default_str();
  app->add_option("--max-label-bytes", flags->server.stream_limits.max_label_bytes,
                  "Bytes that the class indices of one stream may take")
      ->envname("LOSSD_MAX_LABEL_BYTES")
      ->transform(CLI::AsSizeValue(false))
      ->capture_default_str();
  app->add_option("--max-concurrent-streams", flags->server.max_concurrent_streams,
                  "Calls of one connection at a time")
      ->envname("LOSSD_MAX_CONCURRENT_STREAMS")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app->add_option("--max-rank", flags->server.plan_limits.max_rank, "Rank of a tensor")
      ->envname("LOSSD_MAX_RANK")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 10U))
      ->capture_default_str();
  app->add_option("--max-classes", flags->server.plan_limits.max_classes, "Classes of a problem")
      ->envname("LOSSD_MAX_CLASSES")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30U))
      ->capture_default_str();
  app->add_option("--max-positions", flags->server.plan_limits.max_positions,
                  "Positions of a problem")
      ->envname("LOSSD_MAX_POSITIONS")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50U))
      ->capture_default_str();
  AddDuration(app, "--handshake-timeout", "LOSSD_HANDSHAKE_TIMEOUT",
              &flags->server.handshake_timeout,
              "Seconds that a connection may take until its first HTTP/2 settings");
  AddDuration(app, "--header-wait", "LOSSD_HEADER_WAIT", &flags->server.header_wait,
              "Seconds that a stream may wait for its first message");
  AddDuration(app, "--idle-stream", "LOSSD_IDLE_STREAM", &flags->server.idle_stream,
              "Seconds that a stream may go without a byte read or written");
  AddDuration(app, "--max-connection-age", "LOSSD_MAX_CONNECTION_AGE",
              &flags->server.max_connection_age,
              "Seconds after which a connection is asked to go; 0: never");
  AddDuration(app, "--max-connection-age-grace", "LOSSD_MAX_CONNECTION_AGE_GRACE",
              &flags->server.max_connection_age_grace,
              "Seconds that calls of such a connection may go on");
  AddDuration(app, "--max-connection-idle", "LOSSD_MAX_CONNECTION_IDLE",
              &flags->server.max_connection_idle,
              "Seconds that a connection without calls is kept; 0: for ever");
  app->add_flag("--reflection,!--no-reflection", flags->server.reflection,
                "Offer gRPC server reflection")
      ->envname("LOSSD_REFLECTION")
      ->capture_default_str();
  app->add_option("--log-level", flags->log_level, "debug, info, warn, error or off")
      ->envname("LOSSD_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  app->add_option("--shutdown-grace", flags->shutdown_grace_s,
                  "Seconds to go on serving after SIGTERM, while health says NOT_SERVING")
      ->envname("LOSSD_SHUTDOWN_GRACE")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app->add_option("--drain-timeout", flags->drain_timeout_s,
                  "Seconds that calls in flight get to end after the grace period")
      ->envname("LOSSD_DRAIN_TIMEOUT")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
}

void SetUpLogs(const std::string& level) {
  auto logger = spdlog::stderr_color_mt("lossd");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(level));
  // gRPC's own lines are for those who debug it; what matters comes back as a status.
  gpr_set_log_function([](gpr_log_func_args* args) {
    spdlog::debug("grpc {}:{} {}", args->file, args->line, args->message);
  });
}

/// Serves until SIGTERM or SIGINT, then ends in order; a second signal ends the process at once.
void RunUntilSignal(lossd::Server* server, const Flags& flags, const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
  std::thread([signals] {
    int second = 0;
    sigwait(&signals, &second);
    _exit(128 + second);
  }).detach();
  spdlog::info("signal={} state=stopping grace_s={} drain_s={}", signal, flags.shutdown_grace_s,
               flags.drain_timeout_s);
  server->StopAdvertising();
  absl::SleepFor(absl::Seconds(flags.shutdown_grace_s));
  server->Shutdown(absl::Seconds(flags.drain_timeout_s));
  spdlog::info("state=stopped");
}

int Run(int argc, char** argv) {
  CLI::App app("lossd: evaluates training losses over gRPC.");
  Flags flags;
  AddFlags(&app, &flags);
  CLI11_PARSE(app, argc, argv);
  SetUpLogs(flags.log_level);
  // Blocked before any thread exists, so that all inherit it and sigwait alone sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  auto server = lossd::Server::Start(flags.server);
  if (!server.ok()) {
    fmt::print(stderr, "lossd: {}\n", std::string(server.status().message()));
    return 1;
  }
  spdlog::info("state=serving version={} listen={} threads={} instruction_set={}", lossd::kVersion,
               absl::StrJoin((*server)->addresses(), ","), (*server)->threads(),
               lossd::InstructionSet());
  RunUntilSignal(server->get(), flags, signals);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {  // Out of memory, or a library's.
    std::fprintf(stderr, "lossd: %s\n", error.what());
    return 1;
  }
}
