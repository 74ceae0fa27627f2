#include "client/cpp/message_limit.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "core/problem/error.h"
#include "lossd/v1/service.pb.h"

namespace lossd {
namespace {

/// Large enough for a header, and the least that --max-message-bytes of the server allows.
constexpr uint64_t kLeast = 65536;

}  // namespace

void MessageLimit::Ask(grpc::ClientContext* context) {
  v1::GetServerInfoResponse info;
  const grpc::Status status = stub_->GetServerInfo(context, {}, &info);
  if (status.ok()) Learn(info);
  // Ask a server again that cannot be reached now, but not one that lacks GetServerInfo.
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) known_ = true;
}

void MessageLimit::Learn(const v1::GetServerInfoResponse& info) {
  const uint64_t limit = info.limits().max_message_bytes();
  if (limit > 0) bytes_ = std::max(limit, kLeast);
  known_ = true;
}

bool RefusedByTransport(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted &&
         GetErrorDetail(status).reason.empty();
}

}  // namespace lossd
