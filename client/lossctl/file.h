// Reads and writes the files of lossctl.
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
  /// Maps a regular file. A pipe, device or directory is refused at once, without waiting for the
  /// other end of a pipe.
  static absl::StatusOr<std::shared_ptr<const Mapping>> Open(const std::string& path);

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();
  [[nodiscard]] absl::Span<const std::byte> bytes() const { return bytes_; }

 private:
  absl::Span<const std::byte> bytes_;
};

/// Returns an error if it is clear beforehand that the file cannot be written.
absl::Status CheckWritable(const std::string& path);
/// Checks all paths that are not empty. Returns an error also if two paths are the same regular
/// file.
absl::Status CheckOutputs(absl::Span<const std::string> paths);

/// Writes the parts in order. The file gets its name when it is complete: after an error, an older
/// file of that name is unchanged. A device or a pipe is written in place; a pipe without a reader
/// is refused.
absl::Status WriteFile(const std::string& path, absl::Span<const absl::string_view> parts);

/// Writes all of `text` to an open file. Returns the error of errno, with `name`, if that fails.
absl::Status WriteAll(int file, absl::string_view text, absl::string_view name);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_FILE_H_
