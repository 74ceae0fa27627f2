// Writing fields without a message's class: what Protobuf itself would write, byte for byte.
#ifndef LOSSD_PROTO_CODEC_WIRE_WRITE_H_
#define LOSSD_PROTO_CODEC_WIRE_WRITE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "core/problem/dtype.h"
#include "core/problem/plan.h"
#include "core/problem/tensor.h"
#include "core/sums/summary.h"

namespace lossd {

/// What stands before the bytes of a length-delimited field: its tag and its length.
std::string FieldPrefix(int number, size_t size);

/// Appends a length-delimited field.
void AppendField(int number, absl::string_view bytes, std::string* to);

/// Appends a field that is a v1.Tensor, up to its `size` raw bytes, which must follow.
void AppendTensorHead(int number, DType dtype, const Shape& shape, size_t size, std::string* to);

/// What a v1.Summary says of the plan alone: the fields before its sums, and those after its
/// counts.
struct SummaryFrame {
  std::string front;
  std::string back;
};
/// The same for every summary of one plan.
SummaryFrame FrameOf(const Summary& summary);

/// Appends a field that is a v1.Summary with that frame.
void AppendSummary(int number, const SummaryFrame& frame, const Summary& summary, std::string* to);

/// What a v1.EvaluateResponse says of the plan alone: each tensor that it asks for up to its raw
/// bytes, the others empty.
struct ResponseFrame {
  std::string loss;
  std::string log_sum_exp;
  std::string grad_weight;
  SummaryFrame summary;
  std::string grad_target;
  std::string grad_input;
};
/// `summary`: of any of the plan's summaries.
ResponseFrame FrameOf(const Plan& plan, SummaryFrame summary);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_WRITE_H_
