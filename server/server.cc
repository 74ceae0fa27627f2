#include "server/server.h"

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/passes/row_kernels.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/request_form.h"
#include "proto/codec/version.h"
#include "server/drain_watch.h"
#include "server/engine/call_counter.h"
#include "server/engine/idle_watch.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/grpc_settings.h"
#include "server/keep_warm.h"
#include "server/listen_address.h"
#include "server/loss_service.h"
#include "server/reflection.h"
#include "server/request_evaluation.h"
#include "server/socket_lock.h"

namespace lossd {
namespace {

int ThreadCount(int wanted) {
  if (wanted > 0) return wanted;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Throws std::system_error where there are not so many threads to be had as gRPC begins, which
/// itself waits for ever for those that it does not get.
void ExpectThreadsForGrpc() { const WorkerPool spare(16 + 2 * ThreadCount(0)); }

absl::StatusOr<std::vector<ListenAddress>> ParseAddresses(const std::vector<std::string>& listen) {
  if (listen.empty()) {
    return absl::InvalidArgumentError("--listen: expected at least one address");
  }
  std::vector<ListenAddress> addresses;
  for (const std::string& text : listen) {
    auto address = ParseListenAddress(text);
    if (!address.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--listen: ", address.status().message()));
    }
    addresses.push_back(*std::move(address));
  }
  return addresses;
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
  limits->set_max_memory_bytes(ComputingShare(options.max_memory_bytes, threads));
  return info;
}

}  // namespace

// The order matters: the server goes first, then the threads, then what they use, and at last the
// locks, which the server's sockets need for as long as they are there.
struct Server::Parts {
  Parts(const ServerOptions& options, int threads)
      : budget(ComputingShare(options.max_memory_bytes, threads)),
        pool(std::make_unique<WorkerPool>(threads)) {}

  std::vector<std::unique_ptr<SocketLock>> locks;
  MemoryBudget budget;
  CallCounter calls;
  IdleWatch watch;
  RequestForms forms;
  std::unique_ptr<LossService> service;
  std::unique_ptr<Reflection> reflection;
  std::unique_ptr<WorkerPool> pool;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<KeepWarm> keep_warm;

  void MakeServices(const ServerOptions& options);
  /// Fills `ports`; 0 for an address that cannot be had and for those after it.
  void Listen(const ServerOptions& options, const std::vector<ListenAddress>& addresses,
              std::vector<int>* ports);
};

void Server::Parts::MakeServices(const ServerOptions& options) {
  EvaluationContext context;
  context.pool = pool.get();
  context.budget = &budget;
  context.watch = &watch;
  context.forms = &forms;
  context.calls = &calls;
  context.plan_limits = options.plan_limits;
  context.stream_limits = options.stream_limits;
  // A duration without end becomes the longest there is.
  context.header_wait = absl::ToChronoMilliseconds(options.header_wait);
  context.idle_stream = absl::ToChronoMilliseconds(options.idle_stream);
  service = std::make_unique<LossService>(context, MakeInfo(options, pool->threads()));
  if (!options.reflection) return;
  const std::vector<std::string> names = {
      v1::LossService::service_full_name(), grpc::health::v1::Health::service_full_name(),
      grpc::reflection::v1alpha::ServerReflection::service_full_name()};
  reflection = std::make_unique<Reflection>(names, &watch, context.idle_stream);
}

void Server::Parts::Listen(const ServerOptions& options,
                           const std::vector<ListenAddress>& addresses, std::vector<int>* ports) {
  // gRPC's own health service; the process turns it on once.
  static std::once_flag health;
  std::call_once(health, [] { grpc::EnableDefaultHealthCheckService(true); });
  grpc::ServerBuilder builder;
  Configure(options, &builder);
  ports->assign(addresses.size(), 0);
  for (size_t i = 0; i < addresses.size(); ++i) {
    builder.AddListeningPort(ForGrpc(addresses[i]), grpc::InsecureServerCredentials(),
                             &(*ports)[i]);
  }
  builder.RegisterService(service.get());
  if (reflection != nullptr) builder.RegisterService(reflection.get());
  ExpectThreadsForGrpc();
  server = builder.BuildAndStart();
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  const int threads = ThreadCount(options.threads);
  try {
    return StartWith(options, threads);
  } catch (const std::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot start ", threads,
        " worker threads (--threads) and the few beside them: ", error.code().message()));
  }
}

absl::StatusOr<std::unique_ptr<Server>> Server::StartWith(const ServerOptions& options,
                                                          int threads) {
  const auto addresses = ParseAddresses(options.listen);
  if (!addresses.ok()) return addresses.status();
  std::vector<std::unique_ptr<SocketLock>> locks;
  for (const ListenAddress& address : *addresses) {
    if (!address.is_unix()) continue;
    auto lock = SocketLock::Take(address);
    if (!lock.ok()) return lock.status();
    locks.push_back(*std::move(lock));
    // gRPC replaces a socket file that is there, whoever listens on it.
    if (const auto status = CheckUnixPathIsFree(address); !status.ok()) return status;
  }
  auto parts = std::make_unique<Parts>(options, threads);
  parts->locks = std::move(locks);
  parts->MakeServices(options);
  std::vector<int> ports;
  parts->Listen(options, *addresses, &ports);
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  for (size_t i = 0; i < ports.size(); ++i) {
    const ListenAddress& address = (*addresses)[i];
    if (ports[i] == 0) return WhyNoListening(address);
    server->addresses_.push_back(InForce(address, ports[i]));
  }
  if (server->parts_->server == nullptr) return absl::UnavailableError("the server cannot start");
  // A serving status for the full service name; gRPC itself answers for the empty one.
  server->parts_->server->GetHealthCheckService()->SetServingStatus(
      v1::LossService::service_full_name(), true);
  if constexpr (KeepWarm::kNeeded) {
    server->parts_->keep_warm = std::make_unique<KeepWarm>(server->parts_->server.get());
  }
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
  {
    const DrainWatch drained(&parts_->watch, &parts_->calls, parts_->server.get());
    parts_->server->Shutdown(absl::ToChronoTime(absl::Now() + drain));
    parts_->server->Wait();
  }
  parts_->server.reset();
  parts_->pool.reset();
}

}  // namespace lossd
