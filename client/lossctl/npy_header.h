// The header of numpy's .npy files.
#ifndef LOSSD_CLIENT_LOSSCTL_NPY_HEADER_H_
#define LOSSD_CLIENT_LOSSCTL_NPY_HEADER_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/problem/tensor.h"

namespace lossd {

struct NpyHeader {
  TensorSpec spec;
  bool big_endian = false;
  bool fortran_order = false;
  size_t size = 0;  ///< Bytes of the file before its elements.
};

/// Reads a header of format 1.0 to 3.0, as numpy does: a dictionary as Python 2 or 3 writes it.
/// Errors name `path` and say what was expected.
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view file, absl::string_view path);

/// Returns a header of format 1.0 for little-endian elements in C order, bfloat16 as two-byte void.
std::string MakeNpyHeader(const TensorSpec& spec);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_NPY_HEADER_H_
