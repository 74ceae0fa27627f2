// Converts between wire requests and core problems.
#ifndef LOSSD_PROTO_CODEC_PROBLEM_CODEC_H_
#define LOSSD_PROTO_CODEC_PROBLEM_CODEC_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/batch.h"
#include "core/problem/outputs.h"
#include "core/problem/plan.h"
#include "lossd/v1/criterion.pb.h"
#include "lossd/v1/service.pb.h"

namespace lossd {

/// A request as a plan and views of its tensors; valid only as long as the message.
struct ParsedRequest {
  std::shared_ptr<const Plan> plan;
  Operands operands;
  bool typed = false;  ///< The input came as typed values, so the results are sent as such.

  // The bytes of operands that came as typed values.
  std::vector<std::byte> input_storage;
  std::vector<std::byte> target_storage;
  std::vector<std::byte> grad_output_storage;
};

/// Checks everything about a request but its labels.
absl::StatusOr<ParsedRequest> ParseRequest(const v1::EvaluateRequest& request,
                                           const PlanLimits& limits);

/// The plan of a stream. A weight without data follows in the stream. Field paths begin with
/// "header.".
absl::StatusOr<std::shared_ptr<const Plan>> ParseHeader(const v1::EvaluateStreamHeader& header,
                                                        const PlanLimits& limits);

void ToWire(const Outputs& outputs, v1::Outputs* wire);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_PROBLEM_CODEC_H_
