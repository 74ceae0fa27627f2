// Entries of numpy's .npz files.
#ifndef LOSSD_CLIENT_LOSSCTL_NPZ_H_
#define LOSSD_CLIENT_LOSSCTL_NPZ_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/buffer.h"

namespace lossd {

/// An unpacked .npy file of an archive.
struct NpzEntry {
  std::string name;
  std::shared_ptr<const Buffer> bytes;
};

/// Reads the array `key` of an archive. If `key` is empty, reads the array called `name`, or else
/// the only one. Checks length and checksum. Errors name the file; if the array is missing, also
/// the arrays that the file has.
absl::StatusOr<NpzEntry> ReadNpz(const std::string& path, const std::string& key,
                                 absl::string_view name);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_NPZ_H_
