#include "client/lossctl/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/lossctl/file.h"

namespace lossd {

void PrepareStandardStreams() {
  std::signal(SIGPIPE, SIG_IGN);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
    // open() returns the lowest free number, which is `stream`. The wrong direction makes any use
    // of the stream still fail.
    if (open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

absl::Status WriteOutput(absl::string_view text) {
  return WriteAll(STDOUT_FILENO, text, "standard output");
}

}  // namespace lossd
