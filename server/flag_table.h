// The only table of lossd's flags: the name, the accepted values and the destination of each.
#ifndef LOSSD_SERVER_FLAG_TABLE_H_
#define LOSSD_SERVER_FLAG_TABLE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/config_file.h"
#include "server/server.h"

namespace lossd {

/// All settings of lossd.
struct Settings {
  ServerOptions server;
  std::string log_level = "info";
  /// How long calls are served after SIGTERM, and how much time they get to end after that.
  absl::Duration shutdown_grace = absl::ZeroDuration();
  absl::Duration drain_timeout = absl::Seconds(10);
};

/// The kinds of flags: each has its accepted values, and its field in the settings.
struct WholeNumber {
  int64_t least, most;
  std::variant<int* (*)(Settings*), int64_t* (*)(Settings*)> field;
};
struct ByteCount {  ///< With or without a unit: 512MiB. Units are powers of 1024.
  uint64_t least, most;
  uint64_t* (*field)(Settings*);
};
struct SecondCount {
  int64_t most;
  bool zero_is_no_limit;  ///< Otherwise 0 is a duration of zero.
  absl::Duration* (*field)(Settings*);
};
struct Switch {
  bool* (*field)(Settings*);
};
struct OneOf {
  std::vector<absl::string_view> words;
  std::string* (*field)(Settings*);
};
struct Addresses {
  std::vector<std::string>* (*field)(Settings*);
};

struct FlagEntry {
  absl::string_view name;  ///< Without leading dashes; the environment variable is LOSSD_NAME.
  absl::string_view help;
  std::variant<WholeNumber, ByteCount, SecondCount, Switch, OneOf, Addresses> kind;
};

/// All flags, in the order of --help.
const std::vector<FlagEntry>& FlagTable();
/// Null if there is no flag of this name.
const FlagEntry* FindFlag(absl::string_view name);
/// "LOSSD_MAX_MEMORY" for "max-memory".
std::string VariableName(absl::string_view flag);

/// The values that the flag accepts, in words: "a whole number from 0 to 1024".
std::string Expected(const FlagEntry& flag);
/// The flag's current value, as a user would write it.
std::string ValueText(const FlagEntry& flag, Settings* settings);

/// Sets the value from the text of a flag or a variable. INVALID_ARGUMENT: "expected ..., got ...".
absl::Status SetFlag(const FlagEntry& flag, absl::string_view text, Settings* settings);
/// Sets the value from an entry of a file, where the types must match as well.
absl::Status SetFlag(const FlagEntry& flag, const ConfigEntry& entry, Settings* settings);

}  // namespace lossd

#endif  // LOSSD_SERVER_FLAG_TABLE_H_
