#include "server/server.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
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
#include "core/rows/kernel.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/request_form.h"
#include "proto/codec/version.h"
#include "server/drain_watch.h"
#include "server/engine/allocated.h"
#include "server/engine/call_counter.h"
#include "server/engine/idle_watch.h"
#include "server/engine/memory_budget.h"
#include "server/engine/message_watch.h"
#include "server/engine/worker_pool.h"
#include "server/grpc_settings.h"
#include "server/health.h"
#include "server/listen_address.h"
#include "server/loss_service.h"
#include "server/reflection.h"
#include "server/request_evaluation.h"
#include "server/rpc/call_queue.h"
#include "server/socket_lock.h"

namespace lossd {
namespace {

int ThreadCount(int wanted) {
  if (wanted > 0) return wanted;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Throws std::system_error where there are not so many threads to be had as gRPC and the queue
/// begin: gRPC waits for ever for those that it does not get.
void ExpectThreads() { const WorkerPool spare(16 + ThreadCount(0) + CallQueue::threads()); }

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

// The order of the members matters: the server is destroyed first, then the threads, then the
// objects that they use, and last the locks, which the server's sockets need while they exist.
struct Server::Parts {
  Parts(const ServerOptions& options, int threads)
      : budget(ComputingShare(options.max_memory_bytes, threads)),
        // A duration without end becomes the longest there is.
        messages(&watch, absl::ToChronoMilliseconds(options.message_wait),
                 {[this] { return TransportBytes(); },
                  // Well before gRPC's own quota, which would reset any streams.
                  TransportShare(options.max_memory_bytes) / 8 * 3}),
        pool(std::make_unique<WorkerPool>(threads)) {}

  /// Bytes that gRPC holds, nearly: what has been allocated since the start, without what is
  /// reserved and what the workers keep.
  [[nodiscard]] uint64_t TransportBytes() const {
    const uint64_t others = allocated_at_start + budget.used() +
                            kKeptScratchBytes * static_cast<uint64_t>(pool->threads());
    const uint64_t allocated = AllocatedBytes();
    return allocated - std::min(allocated, others);
  }

  std::vector<std::unique_ptr<SocketLock>> locks;
  uint64_t allocated_at_start = std::numeric_limits<uint64_t>::max() / 2;
  MemoryBudget budget;
  CallCounter calls;
  IdleWatch watch;
  MessageWatch messages;
  RequestForms forms;
  EvaluationContext context;
  std::optional<Health> health;
  std::optional<Reflection> reflection;
  CallQueue queue;
  std::unique_ptr<WorkerPool> pool;
  std::unique_ptr<grpc::Server> server;

  void AddServices(const ServerOptions& options);
  /// Fills `ports`; 0 for an address that cannot be had and for those after it.
  void Listen(const ServerOptions& options, const std::vector<ListenAddress>& addresses,
              std::vector<int>* ports);
};

void Server::Parts::AddServices(const ServerOptions& options) {
  context.pool = pool.get();
  context.budget = &budget;
  context.watch = &watch;
  context.messages = &messages;
  context.forms = &forms;
  context.calls = &calls;
  context.plan_limits = options.plan_limits;
  context.stream_limits = options.stream_limits;
  context.header_wait = absl::ToChronoMilliseconds(options.header_wait);
  context.idle_stream = absl::ToChronoMilliseconds(options.idle_stream);
  const std::string name = v1::LossService::service_full_name();
  AddLossService(context, MakeInfo(options, pool->threads()), &queue);
  health.emplace(context, std::vector<std::string>{name});
  health->AddTo(&queue);
  if (!options.reflection) return;
  reflection.emplace(
      context,
      std::vector<std::string>{name, grpc::health::v1::Health::service_full_name(),
                               grpc::reflection::v1alpha::ServerReflection::service_full_name()});
  reflection->AddTo(&queue);
}

void Server::Parts::Listen(const ServerOptions& options,
                           const std::vector<ListenAddress>& addresses, std::vector<int>* ports) {
  grpc::ServerBuilder builder;
  Configure(options, &builder);
  ports->assign(addresses.size(), 0);
  for (size_t i = 0; i < addresses.size(); ++i) {
    builder.AddListeningPort(ForGrpc(addresses[i]), grpc::InsecureServerCredentials(),
                             &(*ports)[i]);
  }
  queue.Register(&builder);
  ExpectThreads();
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
    // gRPC replaces an existing socket file, whoever listens on it.
    if (const auto status = CheckUnixPathIsFree(address); !status.ok()) return status;
  }
  auto parts = std::make_unique<Parts>(options, threads);
  parts->locks = std::move(locks);
  parts->AddServices(options);
  std::vector<int> ports;
  parts->Listen(options, *addresses, &ports);
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  for (size_t i = 0; i < ports.size(); ++i) {
    const ListenAddress& address = (*addresses)[i];
    if (ports[i] == 0) return WhyNoListening(address);
    server->addresses_.push_back(InForce(address, ports[i]));
  }
  if (server->parts_->server == nullptr) return absl::UnavailableError("the server cannot start");
  server->parts_->health->Set("", Health::kServing);
  server->parts_->health->Set(v1::LossService::service_full_name(), Health::kServing);
  server->parts_->allocated_at_start = AllocatedBytes();
  server->parts_->queue.Start();
  return server;
}

uint64_t Server::memory_used() const { return parts_->budget.used(); }

int64_t Server::calls_in_flight() const { return parts_->calls.calls(); }

int Server::threads() const { return parts_->pool->threads(); }

// The empty service name means alive, the full service name means ready: only the latter changes.
void Server::StopAdvertising() {
  parts_->health->Set(v1::LossService::service_full_name(), Health::kNotServing);
}

void Server::Shutdown(absl::Duration drain) {
  if (parts_->server == nullptr) return;
  parts_->health->Set("", Health::kNotServing);
  StopAdvertising();
  {
    const DrainWatch drained(&parts_->watch, &parts_->calls, parts_->server.get());
    parts_->server->Shutdown(absl::ToChronoTime(absl::Now() + drain));
    parts_->server->Wait();
  }
  parts_->queue.Stop();
  parts_->server.reset();
  parts_->pool.reset();
}

}  // namespace lossd
