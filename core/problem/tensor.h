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

/// Sizes of the dimensions, outermost first. Empty for a scalar.
using Shape = absl::InlinedVector<int64_t, 6>;

/// A tensor's type and shape, without its data.
struct TensorSpec {
  DType dtype = DType::kFloat32;
  Shape shape;

  bool operator==(const TensorSpec&) const = default;
};

/// A tensor whose little-endian row-major bytes somebody else owns, at any alignment.
struct TensorView {
  TensorSpec spec;
  absl::Span<const std::byte> bytes;
};

/// "(2, 3)"; "()" for a scalar. For more than sixteen sizes, the first sixteen and the number of
/// sizes.
std::string ToString(const Shape& shape);

/// The number of elements. INVALID_ARGUMENT, naming `<field>.shape`, if a size is negative or the
/// elements take more than 2^62 bytes.
absl::StatusOr<int64_t> CheckedElements(const TensorSpec& spec, absl::string_view field);

/// Checks that `view` has exactly as many bytes as its shape asks for. Errors name `field`.
absl::Status CheckBytes(const TensorView& view, absl::string_view field);

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_TENSOR_H_
