// Reads the settings from flags, environment and config file.
#ifndef LOSSD_SERVER_FLAGS_H_
#define LOSSD_SERVER_FLAGS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/flag_table.h"

namespace lossd {

/// The action that lossd was asked for, and its settings.
struct Invocation {
  enum class Action : uint8_t { kServe, kShowHelp, kShowVersion };
  Action action = Action::kServe;
  Settings settings;
  /// Lines for the log about variables that are unknown and do no harm.
  std::vector<std::string> warnings;
};

/// Returns the contents of a file; an error's message says why they cannot be read.
using ReadFile = std::function<absl::StatusOr<std::string>(const std::string& path)>;

/// A flag overrides a variable, and a variable overrides the file, which --config or LOSSD_CONFIG
/// names. `arguments` exclude the program's name; `environment` holds NAME=VALUE. The message of an
/// INVALID_ARGUMENT names the flag, the variable, or the file, line and key, and says what was
/// expected. Values that another source overrides are checked as well. An unknown variable
/// LOSSD_... is a warning: others may have set it for a purpose of their own.
absl::StatusOr<Invocation> ParseFlags(const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment,
                                      const ReadFile& read_file);

/// Reads a regular file, a pipe or the like, of at most 1 MiB.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

/// The text of --help.
std::string HelpText();

}  // namespace lossd

#endif  // LOSSD_SERVER_FLAGS_H_
