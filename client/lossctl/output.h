// Writes to standard output and reports its errors.
#ifndef LOSSD_CLIENT_LOSSCTL_OUTPUT_H_
#define LOSSD_CLIENT_LOSSCTL_OUTPUT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// Opens closed standard streams, so that no file or connection gets the number of such a stream
/// and then its text. Also makes a write to a pipe without a reader fail instead of raising a
/// signal. REQUIRES: nothing has been opened yet.
void PrepareStandardStreams();

/// Writes all of `text`. Returns an error if standard output is full, closed or without a reader.
absl::Status WriteOutput(absl::string_view text);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_OUTPUT_H_
