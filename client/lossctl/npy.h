// Arrays in numpy's .npy and .npz files, read without a copy if the format allows it.
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

/// An array of a file. The view is valid as long as the owner, which is a mapping or memory.
struct NpyArray {
  TensorView view;
  std::shared_ptr<const void> owner;
};

/// Reads FILE.npy, FILE.npz (the array called `name`, or the only one) or FILE.npz:KEY, in formats
/// 1.0 to 3.0. Converts Fortran order to C order, and big-endian elements to little-endian.
/// Two-byte void is read as bfloat16, because numpy saves ml_dtypes.bfloat16 so. Errors name the
/// file and say what was expected.
absl::StatusOr<NpyArray> ReadNpy(const std::string& path, absl::string_view name);

/// Writes `view` in format 1.0 and C order, bfloat16 as two-byte void. The file gets its name when
/// it is complete.
absl::Status WriteNpy(const std::string& path, const TensorView& view);

/// Parses the bytes of a .npy file, which `owner` keeps alive. Errors name `path`.
absl::StatusOr<NpyArray> ParseNpy(absl::Span<const std::byte> file, const std::string& path,
                                  std::shared_ptr<const void> owner);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_NPY_H_
