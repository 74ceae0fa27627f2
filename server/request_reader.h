// Requests as they arrive, with all that their views point into.
#ifndef LOSSD_SERVER_REQUEST_READER_H_
#define LOSSD_SERVER_REQUEST_READER_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/problem/plan.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/request_form.h"
#include "server/engine/memory_budget.h"

namespace lossd {

/// A request that has been checked, its labels apart.
struct IncomingRequest {
  ParsedRequest parsed;
  std::shared_ptr<const RequestForm> form;  ///< Null where it has none.
  // One of them holds what `parsed` views.
  grpc::Slice bytes;
  std::shared_ptr<const google::protobuf::MessageLite> message;
};

/// Reads an encoded v1.EvaluateRequest. One whose form is among `forms` is not parsed, nor are its
/// tensors copied; any other is, and its form kept. `held`, for the message, grows by what it is
/// parsed into, before that is done. Errors are ParseMessage's, ParseRequest's and Reserve's.
absl::StatusOr<IncomingRequest> ReadRequest(const grpc::ByteBuffer& bytes, const PlanLimits& limits,
                                            RequestForms* forms, MemoryBudget::Reservation* held);

/// An encoded v1.EvaluateManyRequest.
struct ManyRequest {
  uint64_t id = 0;
  absl::StatusOr<IncomingRequest> request;  ///< Fields of its errors begin with "request".
};
/// MALFORMED_MESSAGE where the bytes are none; unknown fields are an error of the request.
absl::StatusOr<ManyRequest> ReadManyRequest(const grpc::ByteBuffer& bytes, const PlanLimits& limits,
                                            RequestForms* forms, MemoryBudget::Reservation* held);

}  // namespace lossd

#endif  // LOSSD_SERVER_REQUEST_READER_H_
