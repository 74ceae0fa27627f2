// Puts load on EvaluateMany: sends one request repeatedly over an open stream.
#ifndef LOSSD_CLIENT_LOSSCTL_PIPELINE_H_
#define LOSSD_CLIENT_LOSSCTL_PIPELINE_H_

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "client/cpp/lossd/client.h"

namespace lossd {

/// Sends `request` as long as `more()` is true, and keeps at most `outstanding` requests
/// unanswered. Calls `answered(begin)` for each answer with the time at which its request was
/// written. Returns the first error.
absl::Status RunPipeline(
    const std::string& server, const ClientOptions& options, const LossRequest& request,
    int outstanding, const std::function<bool()>& more,
    const std::function<void(std::chrono::steady_clock::time_point)>& answered);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_PIPELINE_H_
