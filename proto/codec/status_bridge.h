// The only conversion between absl::Status with its ErrorDetail and the wire formats: grpc::Status
// and google.rpc.Status with BadRequest, ErrorInfo and RetryInfo.
#ifndef LOSSD_PROTO_CODEC_STATUS_BRIDGE_H_
#define LOSSD_PROTO_CODEC_STATUS_BRIDGE_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace lossd {

/// ErrorInfo.domain of every error.
inline constexpr char kErrorDomain[] = "lossd.v1";

google::rpc::Status ToProto(const absl::Status& status);
absl::Status FromProto(const google::rpc::Status& status);

grpc::Status ToGrpc(const absl::Status& status);
/// A status without details keeps its code and message.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_STATUS_BRIDGE_H_
