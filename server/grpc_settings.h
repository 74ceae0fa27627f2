// gRPC's settings for connections, messages and memory; docs/server.md gives the reasons.
#ifndef LOSSD_SERVER_GRPC_SETTINGS_H_
#define LOSSD_SERVER_GRPC_SETTINGS_H_

#include <grpcpp/server_builder.h>

#include <cstdint>

#include "absl/time/time.h"
#include "server/server.h"

namespace lossd {

/// What of the memory budget is gRPC's own.
uint64_t TransportShare(uint64_t max_memory_bytes);

/// What of the memory budget is left for computing; the rest is gRPC's own.
uint64_t ComputingShare(uint64_t max_memory_bytes, int threads);

/// A duration as gRPC's arguments take it; a duration beyond their range becomes infinite.
int GrpcMilliseconds(absl::Duration duration);

/// Applies all settings but listeners and services.
void Configure(const ServerOptions& options, grpc::ServerBuilder* builder);

}  // namespace lossd

#endif  // LOSSD_SERVER_GRPC_SETTINGS_H_
