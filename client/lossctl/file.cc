#include "client/lossctl/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/problem/error.h"

namespace lossd {
namespace {

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  [[nodiscard]] int number() const { return number_; }
  /// False on an error: some file systems report a failed write only at close.
  bool Close() { return close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

absl::Status WriteParts(int file, absl::Span<const absl::string_view> parts,
                        const std::string& path) {
  for (const absl::string_view part : parts) {
    LOSSD_RETURN_IF_ERROR(WriteAll(file, part, path));
  }
  return absl::OkStatus();
}

/// Writes to a device, or to a pipe that has a reader.
absl::Status WriteInPlace(const std::string& path, absl::Span<const absl::string_view> parts) {
  Descriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) {
    return BadFile(path, errno == ENXIO ? "nobody reads this pipe" : std::strerror(errno));
  }
  LOSSD_RETURN_IF_ERROR(WriteParts(file.number(), parts, path));
  return file.Close() ? absl::OkStatus() : BadFile(path, std::strerror(errno));
}

/// The target of a link, or `path` itself. A rename to the link would replace it by a file.
std::string Resolved(const std::string& path) {
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::weakly_canonical(path, error);
  return error ? path : resolved.string();
}

}  // namespace

absl::Status BadFile(absl::string_view path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

absl::StatusOr<std::shared_ptr<const Mapping>> Mapping::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) return BadFile(path, std::strerror(errno));
  struct stat info {};
  if (fstat(file.number(), &info) != 0) return BadFile(path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return BadFile(path, "not a regular file");
  auto mapping = std::make_shared<Mapping>();
  if (info.st_size == 0) return mapping;
  const auto size = static_cast<size_t>(info.st_size);
  void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number(), 0);
  if (memory == MAP_FAILED) return BadFile(path, std::strerror(errno));
  mapping->bytes_ = {static_cast<const std::byte*>(memory), size};
  return mapping;
}

Mapping::~Mapping() {
  if (bytes_.empty()) return;
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());  // NOLINT(*-const-cast)
}

absl::Status CheckWritable(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return BadFile(path, "a directory, expected a file to write");
    if (access(path.c_str(), W_OK) != 0) return BadFile(path, std::strerror(errno));
    if (!S_ISREG(info.st_mode)) return absl::OkStatus();
  } else if (errno != ENOENT) {
    return BadFile(path, std::strerror(errno));
  }
  const std::filesystem::path parent = std::filesystem::path(Resolved(path)).parent_path();
  const std::string folder = parent.empty() ? std::string(".") : parent.string();
  if (stat(folder.c_str(), &info) != 0) {
    return BadFile(path, absl::StrCat("its folder: ", std::strerror(errno)));
  }
  if (!S_ISDIR(info.st_mode)) return BadFile(path, "its folder is none");
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return BadFile(path, absl::StrCat("its folder: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status CheckOutputs(absl::Span<const std::string> paths) {
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    if (path.empty()) continue;
    LOSSD_RETURN_IF_ERROR(CheckWritable(path));
    struct stat info {};
    const bool in_place = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
    if (!in_place && !seen.insert(Resolved(path)).second) {
      return BadFile(path, "expected one file for each output, got this one twice");
    }
  }
  return absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, absl::Span<const absl::string_view> parts) {
  struct stat info {};
  const bool exists = stat(path.c_str(), &info) == 0;
  if (exists && !S_ISREG(info.st_mode)) return WriteInPlace(path, parts);
  const std::string name = Resolved(path);
  const std::string unfinished = absl::StrCat(name, ".", getpid(), ".part");
  Descriptor file(open(unfinished.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.number() < 0) return BadFile(path, std::strerror(errno));
  absl::Status status = WriteParts(file.number(), parts, path);
  const bool same_mode = !exists || fchmod(file.number(), info.st_mode & 07777U) == 0;
  if (status.ok() &&
      (!same_mode || !file.Close() || std::rename(unfinished.c_str(), name.c_str()) != 0)) {
    status = BadFile(path, std::strerror(errno));
  }
  if (!status.ok()) unlink(unfinished.c_str());
  return status;
}

absl::Status WriteAll(int file, absl::string_view text, absl::string_view name) {
  while (!text.empty()) {
    const ssize_t count = write(file, text.data(), text.size());
    if (count >= 0) {
      text.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd room{file, POLLOUT, 0};
      if (poll(&room, 1, -1) < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, name);
    } else if (errno != EINTR) {
      return absl::ErrnoToStatus(errno, name);
    }
  }
  return absl::OkStatus();
}

}  // namespace lossd
