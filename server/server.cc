#include "server/server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "core/row_kernels.h"
#include "grpc/health/v1/health.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/request_form.h"
#include "proto/codec/version.h"
#include "server/engine/call_count.h"
#include "server/engine/idle_watch.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/keep_warm.h"
#include "server/loss_service.h"
#include "server/request_evaluation.h"

namespace lossd {
namespace {

constexpr char kUnixPrefix[] = "unix:";

int ThreadCount(int wanted) {
  if (wanted > 0) return wanted;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// gRPC replaces a socket file that is there; one that still answers belongs to a live server.
bool UnixSocketAnswers(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool answers = connect(fd, reinterpret_cast<const sockaddr*>(&address),  // NOLINT(*-cast)
                               sizeof(address)) == 0;
  close(fd);
  return answers;
}

absl::Status CheckAddress(const std::string& address) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, kUnixPrefix)) {
    if (rest.empty() || rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--listen: expected unix:PATH with a path of 1 to ",
                       sizeof(sockaddr_un::sun_path) - 1, " bytes, got ", address));
    }
    if (UnixSocketAnswers(std::string(rest))) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, ": another server answers there"));
    }
    return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen: expected HOST:PORT or unix:PATH, got ", address));
  }
  return absl::OkStatus();
}

/// What of the memory budget is gRPC's own. A stream whose server does not read holds 1.2 to 5 MB
/// there, and a quota of 32 MiB was seen to end an honest one.
constexpr uint64_t kLeastTransport = uint64_t{64} << 20U;
uint64_t TransportShare(uint64_t max_memory_bytes) {
  return std::max(max_memory_bytes / 4, kLeastTransport);
}

/// What is left for computing. Of a budget too small to share gRPC's least comes on top.
uint64_t ComputingShare(uint64_t max_memory_bytes) {
  const uint64_t transport = max_memory_bytes / 4;
  return transport < kLeastTransport ? max_memory_bytes : max_memory_bytes - transport;
}

/// The starting point of what was measured of gRPC 1.51; docs/server.md gives the reasons.
void Configure(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(
      std::min<uint64_t>(options.max_message_bytes, std::numeric_limits<int>::max())));
  builder->SetMaxSendMessageSize(-1);
  for (const auto algorithm : {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    builder->SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20);
  builder->AddChannelArgument(GRPC_ARG_TCP_READ_CHUNK_SIZE, 4 << 20);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  // The reflection plugin is synchronous and would start a thread for every call.
  grpc::ResourceQuota quota("lossd");
  quota.SetMaxThreads(16);
  quota.Resize(static_cast<size_t>(TransportShare(options.max_memory_bytes)));
  builder->SetResourceQuota(quota);
}

/// A duration as gRPC's arguments take it.
int Milliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::min<int64_t>(absl::ToInt64Milliseconds(duration), std::numeric_limits<int>::max()));
}

void ConfigureConnections(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                              Milliseconds(options.max_connection_age));
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              Milliseconds(options.handshake_timeout));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                              Milliseconds(options.max_connection_age_grace));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                              Milliseconds(options.max_connection_idle));
}

v1::GetServerInfoResponse MakeInfo(const ServerOptions& options, int threads) {
  v1::GetServerInfoResponse info;
  info.set_version(kVersion);
  info.set_instruction_set(InstructionSet());
  info.set_threads(static_cast<uint32_t>(threads));
  v1::Limits* limits = info.mutable_limits();
  limits->set_max_message_bytes(options.max_message_bytes);
  limits->set_max_rank(static_cast<uint32_t>(options.plan_limits.max_rank));
  limits->set_max_classes(options.plan_limits.max_classes);
  limits->set_max_positions(options.plan_limits.max_positions);
  limits->set_max_label_bytes(options.stream_limits.max_label_bytes);
  limits->set_max_stream_skew_bytes(static_cast<uint64_t>(options.stream_limits.max_skew_bytes));
  limits->set_stream_window_bytes(static_cast<uint64_t>(options.stream_limits.window_bytes));
  limits->set_max_memory_bytes(ComputingShare(options.max_memory_bytes));
  return info;
}

/// Health and reflection come with plugins that the process registers once.
void RegisterPlugins(bool reflection) {
  static std::once_flag health;
  std::call_once(health, [] { grpc::EnableDefaultHealthCheckService(true); });
  static std::once_flag reflected;
  if (reflection) {
    std::call_once(reflected, [] {
      grpc::reflection::InitProtoReflectionServerBuilderPlugin();
      // gRPC's own health service brings no descriptor, and reflection could only name it.
      google::protobuf::LinkMessageReflection<grpc::health::v1::HealthCheckRequest>();
    });
  }
}

}  // namespace

// The order matters: the server goes first, then the threads, then what they use.
struct Server::Parts {
  Parts(const ServerOptions& options, int threads)
      : budget(ComputingShare(options.max_memory_bytes)),
        pool(std::make_unique<WorkerPool>(threads)) {}

  MemoryBudget budget;
  IdleWatch watch;
  RequestForms forms;
  CallCount calls;
  std::unique_ptr<LossService> service;
  std::unique_ptr<WorkerPool> pool;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<KeepWarm> keep_warm;
};

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  if (options.listen.empty()) {
    return absl::InvalidArgumentError("--listen: expected at least one address");
  }
  for (const std::string& address : options.listen) {
    if (auto status = CheckAddress(address); !status.ok()) return status;
  }
  RegisterPlugins(options.reflection);
  auto parts = std::make_unique<Parts>(options, ThreadCount(options.threads));
  const EvaluationContext context{parts->pool.get(),
                                  &parts->budget,
                                  &parts->watch,
                                  &parts->forms,
                                  &parts->calls,
                                  options.plan_limits,
                                  options.stream_limits,
                                  absl::ToChronoMilliseconds(options.header_wait),
                                  absl::ToChronoMilliseconds(options.idle_stream)};
  parts->service =
      std::make_unique<LossService>(context, MakeInfo(options, parts->pool->threads()));
  grpc::ServerBuilder builder;
  Configure(options, &builder);
  ConfigureConnections(options, &builder);
  std::vector<int> ports(options.listen.size(), 0);
  for (size_t i = 0; i < options.listen.size(); ++i) {
    builder.AddListeningPort(options.listen[i], grpc::InsecureServerCredentials(), &ports[i]);
  }
  builder.RegisterService(parts->service.get());
  parts->server = builder.BuildAndStart();
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string& address = options.listen[i];
    if (ports[i] == 0) {
      return absl::UnavailableError(absl::StrCat(
          "cannot listen on ", address, ": the address is in use, or not one of this machine"));
    }
    const bool is_unix = address.rfind(kUnixPrefix, 0) == 0;
    server->addresses_.push_back(
        is_unix ? address : absl::StrCat(address.substr(0, address.rfind(':')), ":", ports[i]));
  }
  if (server->parts_->server == nullptr) return absl::UnavailableError("the server cannot start");
  // A serving status for the full service name; gRPC itself answers for the empty one.
  server->parts_->server->GetHealthCheckService()->SetServingStatus(
      v1::LossService::service_full_name(), true);
  server->parts_->keep_warm = std::make_unique<KeepWarm>(server->parts_->server.get());
  return server;
}

uint64_t Server::memory_used() const { return parts_->budget.used(); }

int64_t Server::calls_in_flight() const { return parts_->calls.calls(); }

int Server::threads() const { return parts_->pool->threads(); }

// "Empty service: alive; full service name: ready": only the latter changes.
void Server::StopAdvertising() {
  parts_->server->GetHealthCheckService()->SetServingStatus(v1::LossService::service_full_name(),
                                                            false);
}

void Server::Shutdown(absl::Duration drain) {
  if (parts_->server == nullptr) return;
  parts_->keep_warm.reset();
  parts_->server->Shutdown(absl::ToChronoTime(absl::Now() + drain));
  parts_->server->Wait();
  parts_->server.reset();
  parts_->pool.reset();
}

}  // namespace lossd
