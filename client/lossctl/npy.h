// Arrays in numpy's .npy and .npz files, read without copying where the file allows it.
#ifndef LOSSD_CLIENT_LOSSCTL_NPY_H_
#define LOSSD_CLIENT_LOSSCTL_NPY_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/problem/tensor.h"

namespace lossd {

/// An array of a file; the view lives as long as the owner: a mapping, or memory.
struct NpyArray {
  TensorView view;
  std::shared_ptr<const void> owner;
};

/// Reads FILE.npy, FILE.npz (the array called `name`, or the only one) or FILE.npz:KEY. Formats 1.0
/// to 3.0; Fortran order is turned into C order, and big-endian elements into little-endian ones;
/// two-byte void, as which numpy saves ml_dtypes.bfloat16, is bfloat16. Errors name the file and
/// what was expected.
absl::StatusOr<NpyArray> ReadNpy(const std::string& path, absl::string_view name);

/// Writes `view` as format 1.0 in C order; bfloat16 as two-byte void. The file gets its name when
/// it is whole.
absl::Status WriteNpy(const std::string& path, const TensorView& view);

/// Parses the bytes of a .npy file that `owner` keeps; `path` is for messages.
absl::StatusOr<NpyArray> ParseNpy(absl::Span<const std::byte> file, const std::string& path,
                                  std::shared_ptr<const void> owner);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_NPY_H_
