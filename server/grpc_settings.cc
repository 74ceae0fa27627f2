#include "server/grpc_settings.h"

#include <grpc/grpc.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/rows/kernel.h"

namespace lossd {
namespace {

/// Minimum quota of gRPC. A stream that the server does not read holds 1.2 to 5 MB in gRPC, and a
/// quota of 32 MiB was seen to end a well-behaved stream.
constexpr uint64_t kLeastTransport = uint64_t{64} << 20U;

/// The starting point of what was measured of gRPC 1.51.
void ConfigureTransport(const ServerOptions& options, grpc::ServerBuilder* builder) {
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
  grpc::ResourceQuota quota("lossd");
  quota.Resize(static_cast<size_t>(TransportShare(options.max_memory_bytes)));
  builder->SetResourceQuota(quota);
}

void ConfigureConnections(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                              GrpcMilliseconds(options.max_connection_age));
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              GrpcMilliseconds(options.handshake_timeout));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                              GrpcMilliseconds(options.max_connection_age_grace));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                              GrpcMilliseconds(options.max_connection_idle));
  // gRPC reads until Linux reports by TCP_INQ that no byte waits. Linux reports the same after a
  // reset (tcp_inq_hint knows only of FIN), so gRPC does not see a reset that followed unread
  // bytes: the calls would stay until something is written. Keepalive pings are such writes. A peer
  // may be silent for 80 s.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 70'000);
  // Clients keep idle connections alive through gateways by pings, every 10 s and more often.
  // Without the first setting, gRPC treats any ping on a connection without calls as an attack.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
}

}  // namespace

uint64_t TransportShare(uint64_t max_memory_bytes) {
  return std::max(max_memory_bytes / 4, kLeastTransport);
}

// Of a budget too small to share gRPC's least comes on top.
uint64_t ComputingShare(uint64_t max_memory_bytes, int threads) {
  const uint64_t transport = max_memory_bytes / 4;
  if (transport < kLeastTransport) return max_memory_bytes;
  const uint64_t computing = max_memory_bytes - transport;
  // Never subtract more than half: --threads may be large.
  return computing - std::min(computing / 2, static_cast<uint64_t>(threads) * kKeptScratchBytes);
}

int GrpcMilliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 0, std::numeric_limits<int>::max()));
}

void Configure(const ServerOptions& options, grpc::ServerBuilder* builder) {
  ConfigureTransport(options, builder);
  ConfigureConnections(options, builder);
}

}  // namespace lossd
