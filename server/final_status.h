// The status that a call ends with.
#ifndef LOSSD_SERVER_FINAL_STATUS_H_
#define LOSSD_SERVER_FINAL_STATUS_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace lossd {

/// The trailing metadata that gRPC's own clients obey when they retry: milliseconds to wait, or -1
/// if another attempt would fail in the same way.
inline constexpr char kRetryPushback[] = "grpc-retry-pushback-ms";

/// The status to end `call` with, called once and right before its Finish: adds kRetryPushback to
/// the trailing metadata where waiting helps, and where it never will. Does not throw: where memory
/// does not suffice for the details, the code is left.
grpc::Status FinalStatus(grpc::ServerContextBase* call, const absl::Status& status) noexcept;

/// OutOfMemory(), or its code alone if there is no memory for the rest.
absl::Status OutOfMemoryOrCode() noexcept;

}  // namespace lossd

#endif  // LOSSD_SERVER_FINAL_STATUS_H_
