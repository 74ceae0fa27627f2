// From flags, environment and config file to settings.
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

/// What lossd was asked for.
struct Invocation {
  enum class Action : uint8_t { kServe, kShowHelp, kShowVersion };
  Action action = Action::kServe;
  Settings settings;
  /// Lines for the log: what was not understood and does no harm.
  std::vector<std::string> warnings;
};

/// The contents of a file; an error's message says why they cannot be had.
using ReadFile = std::function<absl::StatusOr<std::string>(const std::string& path)>;

/// A flag comes before a variable, and a variable before the file, which --config or LOSSD_CONFIG
/// names. `arguments` are without the program's name; `environment` holds NAME=VALUE.
/// INVALID_ARGUMENT, whose message names the flag, variable, or file, line and key, and says what
/// was expected; what a later source overrides is checked as well. A variable LOSSD_... that
/// nothing knows is a warning: others may have set it for a purpose of their own.
absl::StatusOr<Invocation> ParseFlags(const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment,
                                      const ReadFile& read_file);

/// A regular file, a pipe or the like, of at most 1 MiB.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path);

/// The text of --help.
std::string HelpText();

}  // namespace lossd

#endif  // LOSSD_SERVER_FLAGS_H_
