// Responses to calls of one message.
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

/// Reads a v1.EvaluateResponse that is just as lossd writes it, `frame` and no field more: each
/// tensor is copied once, from where gRPC received it to its place in `result`, which has been
/// allocated. `blank` is a summary of that frame without its sums and counts; where it is null the
/// frame has none, and the summary is read by Protobuf. False where the response is not quite so;
/// then some of the result may have been overwritten.
bool ReadPlainResponse(absl::Span<const grpc::Slice> slices, const ResponseFrame& frame,
                       const Summary* blank, LossResult* result);

/// Any response, of another version too; DATA_LOSS where it is none, or lacks what was asked for.
absl::Status ReadResponse(const grpc::ByteBuffer& bytes, const ResponseFrame& frame,
                          const Summary* blank, LossResult* result);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_RESPONSE_READER_H_
