// Shapes, specifications and views of dense row-major tensors.
#ifndef LOSSD_CORE_PROBLEM_TENSOR_H_
#define LOSSD_CORE_PROBLEM_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/problem/dtype.h"

namespace lossd {

/// Sizes of the dimensions, outermost first. Empty: a scalar.
using Shape = absl::InlinedVector<int64_t, 6>;

/// What a tensor is, without its data.
struct TensorSpec {
  DType dtype = DType::kFloat32;
  Shape shape;

  bool operator==(const TensorSpec&) const = default;
};

/// A tensor whose little-endian row-major bytes somebody else owns. No alignment is asked for.
struct TensorView {
  TensorSpec spec;
  absl::Span<const std::byte> bytes;
};

/// "(2, 3)", "()" for a scalar; of more than sixteen sizes the first ones and their number.
std::string ToString(const Shape& shape);

/// Number of elements. Negative sizes and products of element sizes beyond 2^62 bytes are refused,
/// naming `<field>.shape`.
absl::StatusOr<int64_t> CheckedElements(const TensorSpec& spec, absl::string_view field);

/// Checks that `view` holds just the bytes that its shape asks for; names `field`.
absl::Status CheckBytes(const TensorView& view, absl::string_view field);

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_TENSOR_H_
