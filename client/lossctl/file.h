// Files as lossctl reads and writes them.
#ifndef LOSSD_CLIENT_LOSSCTL_FILE_H_
#define LOSSD_CLIENT_LOSSCTL_FILE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lossd {

/// An error about a file: INVALID_ARGUMENT, "<path>: <what>".
absl::Status BadFile(absl::string_view path, absl::string_view what);

/// A file mapped read-only.
class Mapping {
 public:
  /// Regular files alone: a pipe, a device or a directory is refused at once, without waiting for
  /// another end.
  static absl::StatusOr<std::shared_ptr<const Mapping>> Open(const std::string& path);

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();
  [[nodiscard]] absl::Span<const std::byte> bytes() const { return bytes_; }

 private:
  absl::Span<const std::byte> bytes_;
};

/// An error where a file of that path could not be written, as far as can be seen before.
absl::Status CheckWritable(const std::string& path);
/// The same for all paths that are not empty; and an error where two of them are one file.
absl::Status CheckOutputs(absl::Span<const std::string> paths);

/// Writes the parts, one after the other, to a file that gets its name when it is whole: an error
/// leaves behind what was there. A device or a pipe is written to as it is; a pipe that nobody
/// reads is refused.
absl::Status WriteFile(const std::string& path, absl::Span<const absl::string_view> parts);

/// Writes everything to an open file. OK, or the error that errno says, with `name`.
absl::Status WriteAll(int file, absl::string_view text, absl::string_view name);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_FILE_H_
