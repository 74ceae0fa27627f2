// Shows the progress of a stream in a line on a terminal.
#ifndef LOSSD_CLIENT_LOSSCTL_PROGRESS_LINE_H_
#define LOSSD_CLIENT_LOSSCTL_PROGRESS_LINE_H_

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lossd {

/// Draws the line on stderr, at most ten times a second while bytes move, and erases it in the
/// destructor.
class ProgressLine {
 public:
  /// `total` is the number of bytes to send.
  explicit ProgressLine(uint64_t total) : total_(std::max<uint64_t>(1, total)) {}
  ~ProgressLine() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Update(uint64_t sent, uint64_t received) {
    const absl::Time now = absl::Now();
    if (now - last_ < absl::Milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    const double seconds = absl::ToDoubleSeconds(now - start_);
    const std::string line = absl::StrFormat(
        "\r\033[Ksent %.0f%% (%.0f MiB, %.0f MiB/s), received %.0f MiB",
        100.0 * static_cast<double>(sent) / static_cast<double>(total_),
        static_cast<double>(sent) / 1048576, static_cast<double>(sent) / 1048576 / seconds,
        static_cast<double>(received) / 1048576);
    std::fputs(line.c_str(), stderr);
  }

 private:
  const uint64_t total_;
  const absl::Time start_ = absl::Now();
  absl::Time last_ = start_;
  bool drawn_ = false;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_PROGRESS_LINE_H_
