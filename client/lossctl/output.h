// Standard output, whose errors are errors.
#ifndef LOSSD_CLIENT_LOSSCTL_OUTPUT_H_
#define LOSSD_CLIENT_LOSSCTL_OUTPUT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// To be called before anything is opened: a file or connection would get the number of a standard
/// stream that is closed, and what is meant for that stream. Also lets a write to a pipe that
/// nobody reads fail, in place of a signal.
void PrepareStandardStreams();

/// Writes `text` whole: an error where standard output is full, closed, or read by nobody.
absl::Status WriteOutput(absl::string_view text);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_OUTPUT_H_
