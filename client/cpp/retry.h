// Retries of streams that did not reach their server.
#ifndef LOSSD_CLIENT_CPP_RETRY_H_
#define LOSSD_CLIENT_CPP_RETRY_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lossd {

/// Calls `attempt` until its status is not UNAVAILABLE, at most four times, and not beyond
/// `deadline`. Returns the status of the last attempt. The back-off between attempts is 50 ms,
/// 150 ms and 450 ms, each up to a fifth longer or shorter. gRPC's own retry policy would have to
/// keep all the bytes that it has sent.
absl::Status CallWithRetries(absl::Time deadline, absl::FunctionRef<absl::Status()> attempt);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_RETRY_H_
