#include "server/final_status.h"

#include <cmath>
#include <cstdint>
#include <new>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "proto/codec/status_bridge.h"
#include "server/engine/memory_budget.h"

namespace lossd {
namespace {

/// Empty if nothing is known about another attempt.
std::string Pushback(const absl::Status& status) {
  const ErrorDetail detail = GetErrorDetail(status);
  if (detail.retry_after_s > 0) {
    return absl::StrCat(static_cast<int64_t>(std::ceil(detail.retry_after_s * 1000)));
  }
  const bool never = detail.reason == "MEMORY_LIMIT" || detail.reason == "LIMIT_EXCEEDED";
  return never ? "-1" : "";
}

}  // namespace

grpc::Status FinalStatus(grpc::ServerContextBase* call, const absl::Status& status) noexcept {
  if (status.ok()) return grpc::Status::OK;
  try {
    const std::string pushback = Pushback(status);
    if (!pushback.empty()) call->AddTrailingMetadata(kRetryPushback, pushback);
    return ToGrpc(status);
  } catch (const std::bad_alloc&) {
    return {static_cast<grpc::StatusCode>(status.code()), ""};
  }
}

absl::Status OutOfMemoryOrCode() noexcept {
  try {
    return OutOfMemory();
  } catch (const std::bad_alloc&) {
    return {absl::StatusCode::kResourceExhausted, ""};  // Allocates nothing.
  }
}

}  // namespace lossd
