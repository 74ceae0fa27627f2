// Streams that did not reach their server are opened again.
#ifndef LOSSD_CLIENT_CPP_RETRY_H_
#define LOSSD_CLIENT_CPP_RETRY_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lossd {

/// Makes `attempt` until it ends with anything but UNAVAILABLE, four times at most, and not beyond
/// `deadline`; the last one's status. Between attempts it sleeps for 50 ms, 150 ms and 450 ms, a
/// fifth more or less. gRPC's own policy would have to keep all that was sent.
absl::Status CallWithRetries(absl::Time deadline, absl::FunctionRef<absl::Status()> attempt);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_RETRY_H_
