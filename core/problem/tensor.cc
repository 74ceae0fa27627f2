#include "core/problem/tensor.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"

namespace lossd {

std::string ToString(const Shape& shape) {
  // A peer may send any number of sizes, but a status has little room.
  constexpr size_t kShown = 16;
  if (shape.size() <= kShown) return absl::StrCat("(", absl::StrJoin(shape, ", "), ")");
  return absl::StrCat("(", absl::StrJoin(shape.begin(), shape.begin() + kShown, ", "), ", ... ",
                      shape.size(), " sizes)");
}

absl::StatusOr<int64_t> CheckedElements(const TensorSpec& spec, absl::string_view field) {
  const auto path = [field] { return absl::StrCat(field, ".shape"); };
  bool empty = false;
  for (const int64_t size : spec.shape) {
    if (size < 0) {
      return InvalidField(path(), "SIZE_NEGATIVE", "expected sizes of at least 0, got ",
                          ToString(spec.shape));
    }
    empty = empty || size == 0;
  }
  if (empty) return 0;
  // Limits the bytes, not only the elements, so that elements times element size cannot overflow
  // later.
  const int64_t limit = (int64_t{1} << 62U) / static_cast<int64_t>(SizeOf(spec.dtype));
  int64_t elements = 1;
  for (const int64_t size : spec.shape) {
    if (elements > limit / size) {
      return WithMetadata(InvalidField(path(), "SHAPE_OVERFLOW", "the product of ",
                                       ToString(spec.shape), " does not fit; expected at most ",
                                       limit, " elements of ", Name(spec.dtype)),
                          {{"limit", "elements"}, {"limit_value", absl::StrCat(limit)}});
    }
    elements *= size;
  }
  return elements;
}

absl::Status CheckBytes(const TensorView& view, absl::string_view field) {
  const auto elements = CheckedElements(view.spec, field);
  if (!elements.ok()) return elements.status();
  const auto expected = static_cast<uint64_t>(*elements) * SizeOf(view.spec.dtype);
  if (expected == view.bytes.size()) return absl::OkStatus();
  return WithMetadata(InvalidField(field, "LENGTH_MISMATCH", "expected ", expected,
                                   " bytes for shape ", ToString(view.spec.shape), " of ",
                                   Name(view.spec.dtype), ", got ", view.bytes.size()),
                      ExpectedMetadata(expected, view.bytes.size()));
}

}  // namespace lossd
