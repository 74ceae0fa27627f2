// Reads the responses of unary calls.
#ifndef LOSSD_CLIENT_CPP_RESPONSE_READER_H_
#define LOSSD_CLIENT_CPP_RESPONSE_READER_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "core/sums/summary.h"
#include "proto/codec/wire_write.h"

namespace lossd {

/// Reads a v1.EvaluateResponse that has exactly the fields of `frame`, encoded as lossd writes
/// them. Each tensor is copied once, from gRPC's buffers to `result`. `blank` is a summary with
/// that frame, without its sums and counts; if null, the frame has no summary and Protobuf parses
/// it. Returns false if the response differs; parts of `result` may then have been overwritten.
/// REQUIRES: the tensors of `result` are allocated.
bool ReadPlainResponse(absl::Span<const grpc::Slice> slices, const ResponseFrame& frame,
                       const Summary* blank, LossResult* result);

/// Reads any response, also one of another version. DATA_LOSS if it is no v1.EvaluateResponse or
/// lacks a requested output.
absl::Status ReadResponse(const grpc::ByteBuffer& bytes, const ResponseFrame& frame,
                          const Summary* blank, LossResult* result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_RESPONSE_READER_H_
