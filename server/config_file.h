// The config file: flags by name, as TOML.
#ifndef LOSSD_SERVER_CONFIG_FILE_H_
#define LOSSD_SERVER_CONFIG_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// A value as written in the file.
struct ConfigValue {
  enum class Type : uint8_t { kString, kInteger, kFloat, kBoolean };
  Type type = Type::kString;
  std::string text;  ///< A string without its quotes; a number without underscores and plus.
};

struct ConfigEntry {
  int line = 0;  ///< From 1.
  std::string key;
  bool array = false;
  std::vector<ConfigValue> values;  ///< One, unless it is an array.
};

/// Reads the subset of TOML that a file of flags needs: KEY = VALUE with strings, decimal numbers,
/// booleans and arrays of them, and comments. INVALID_ARGUMENT, whose message begins with the line,
/// for anything else, including tables and duplicate keys.
absl::StatusOr<std::vector<ConfigEntry>> ParseConfig(absl::string_view text);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_FILE_H_
