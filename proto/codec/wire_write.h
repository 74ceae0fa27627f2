// Writes encoded fields without message classes, byte for byte as Protobuf itself writes them.
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

/// The tag and length that precede the bytes of a length-delimited field.
std::string FieldPrefix(int number, size_t size);

/// Appends a length-delimited field.
void AppendField(int number, absl::string_view bytes, std::string* to);

/// Appends a field that is a v1.Tensor, up to its `size` raw bytes, which must follow.
void AppendTensorHead(int number, DType dtype, const Shape& shape, size_t size, std::string* to);

/// The fields of a v1.Summary that depend on the plan alone: `front` precedes the sums, `back`
/// follows the counts.
struct SummaryFrame {
  std::string front;
  std::string back;
};
/// The frame is the same for every summary of one plan.
SummaryFrame FrameOf(const Summary& summary);

/// Appends a field that is a v1.Summary with that frame.
void AppendSummary(int number, const SummaryFrame& frame, const Summary& summary, std::string* to);

/// The parts of a v1.EvaluateResponse that depend on the plan alone: each requested tensor's field
/// up to its raw bytes; empty for the other tensors.
struct ResponseFrame {
  std::string loss;
  std::string log_sum_exp;
  std::string grad_weight;
  SummaryFrame summary;
  std::string grad_target;
  std::string grad_input;
};
/// `summary` is the frame of any summary of the plan.
ResponseFrame FrameOf(const Plan& plan, SummaryFrame summary);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_WIRE_WRITE_H_
