// Bytes that gRPC sends from where they lie.
#ifndef LOSSD_PROTO_CODEC_LEND_H_
#define LOSSD_PROTO_CODEC_LEND_H_

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>

#include "absl/types/span.h"

namespace lossd {

/// A slice that lends bytes to gRPC and keeps their owner until gRPC lets go of them, which may be
/// after the end of a call that was cancelled, and on any thread.
grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_LEND_H_
