// Reads arriving requests, and keeps the memory that their views point into.
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

/// A request that has been checked, except for its labels.
struct IncomingRequest {
  ParsedRequest parsed;
  std::shared_ptr<const RequestForm> form;  ///< Null if it has none.
  // One of these two holds the bytes that `parsed` views.
  grpc::Slice bytes;
  std::shared_ptr<const google::protobuf::MessageLite> message;
};

/// Reads an encoded v1.EvaluateRequest. If its form is among `forms`, the request is not parsed and
/// its tensors are not copied; otherwise it is parsed and its form is kept. Before parsing, `held`,
/// the reservation of the message, grows by the memory of the parsed message. Errors are those of
/// ParseMessage, ParseRequest and Reserve.
absl::StatusOr<IncomingRequest> ReadRequest(const grpc::ByteBuffer& bytes, const PlanLimits& limits,
                                            RequestForms* forms, MemoryBudget::Reservation* held);

/// An encoded v1.EvaluateManyRequest.
struct ManyRequest {
  uint64_t id = 0;
  absl::StatusOr<IncomingRequest> request;  ///< Field paths of its errors begin with "request".
};
/// MALFORMED_MESSAGE if the bytes are no such message; an unknown field is an error of `request`.
absl::StatusOr<ManyRequest> ReadManyRequest(const grpc::ByteBuffer& bytes, const PlanLimits& limits,
                                            RequestForms* forms, MemoryBudget::Reservation* held);

}  // namespace lossd

#endif  // LOSSD_SERVER_REQUEST_READER_H_
