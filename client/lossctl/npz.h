// Entries of numpy's .npz files.
#ifndef LOSSD_CLIENT_LOSSCTL_NPZ_H_
#define LOSSD_CLIENT_LOSSCTL_NPZ_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/buffer.h"

namespace lossd {

/// A .npy file in an archive, unpacked.
struct NpzEntry {
  std::string name;
  std::shared_ptr<const Buffer> bytes;
};

/// Reads the array `key` of an archive; where `key` is empty, the one called `name`, or the only
/// one. Lengths and checksums are checked. Errors name the file, and the arrays that it has.
absl::StatusOr<NpzEntry> ReadNpz(const std::string& path, const std::string& key,
                                 absl::string_view name);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_NPZ_H_
