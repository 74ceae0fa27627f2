#include "server/flags.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "core/problem/error.h"

namespace lossd {
namespace {

constexpr absl::string_view kConfigVariable = "LOSSD_CONFIG";
constexpr absl::string_view kPrefix = "LOSSD_";
// Variables of clients and tests, and those that Kubernetes sets for a service named lossd.
constexpr std::array<absl::string_view, 4> kForeign = {"LOSSD_ADDRESS", "LOSSD_SERVER", "LOSSD_BIN",
                                                       "LOSSD_FULL"};
constexpr std::array<absl::string_view, 2> kForeignPrefixes = {"LOSSD_SERVICE_", "LOSSD_PORT"};

/// Edit distance: how many characters must be inserted, deleted or changed.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

/// The flag, or name in `more`, that was most likely meant; empty if none is near.
std::string Nearest(absl::string_view name, std::vector<absl::string_view> more = {}) {
  const std::string wanted =
      absl::AsciiStrToLower(absl::StrReplaceAll(name, {{"_", "-"}, {".", "-"}}));
  std::string best;
  size_t least = std::max<size_t>(3, wanted.size() / 3 + 1);
  for (const FlagEntry& flag : FlagTable()) more.push_back(flag.name);
  for (const absl::string_view flag : more) {
    // A part of a flag's name is near the name, however long the rest is.
    const bool part = wanted.size() >= 3 && absl::StrContains(flag, wanted);
    const size_t distance = part ? 1 : Distance(wanted, flag);
    if (distance >= least) continue;
    least = distance;
    best = std::string(flag);
  }
  return best;
}

std::string DidYouMean(const std::string& name) {
  return name.empty() ? "lossd --help lists them all" : absl::StrCat("did you mean ", name, "?");
}

absl::Status At(absl::string_view place, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", status.message()));
}

/// The flags of a command line, by name. Only a flag of addresses may be repeated.
struct CommandLine {
  std::map<std::string, std::string> values;
  Invocation::Action action = Invocation::Action::kServe;
};

absl::Status UnknownFlag(absl::string_view argument) {
  const std::string near = Nearest(absl::StripPrefix(absl::StripPrefix(argument, "-"), "-"),
                                   {"config", "help", "version"});
  return absl::InvalidArgumentError(
      absl::StrCat(absl::CHexEscape(argument), ": unknown flag; ",
                   DidYouMean(near.empty() ? near : absl::StrCat("--", near))));
}

/// The value of the flag: the text after its =, or the next argument. A switch allows only the
/// former.
absl::StatusOr<std::string> TakeValue(const FlagEntry* flag, absl::string_view name,
                                      const std::optional<std::string>& given,
                                      const std::vector<std::string>& arguments, size_t* at) {
  if (given) return *given;
  if (flag != nullptr && std::holds_alternative<Switch>(flag->kind)) return std::string("true");
  if (*at + 1 < arguments.size() && !absl::StartsWith(arguments[*at + 1], "--")) {
    return arguments[++*at];
  }
  return absl::InvalidArgumentError(absl::StrCat("--", name, ": expected ",
                                                 flag == nullptr ? "a file" : Expected(*flag),
                                                 " after it, got nothing"));
}

absl::StatusOr<CommandLine> ReadCommandLine(const std::vector<std::string>& arguments) {
  CommandLine line;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") line.action = Invocation::Action::kShowHelp;
    if (argument == "--version") line.action = Invocation::Action::kShowVersion;
    if (line.action != Invocation::Action::kServe) return line;
    absl::string_view name = argument;
    if (!absl::StartsWith(name, "-")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", absl::CHexEscape(argument), "\": expected a flag such as --listen=", argument));
    }
    if (!absl::ConsumePrefix(&name, "--")) return UnknownFlag(argument);
    std::optional<std::string> given;
    if (const size_t equals = name.find('='); equals != absl::string_view::npos) {
      given = std::string(name.substr(equals + 1));
      name = name.substr(0, equals);
    }
    absl::string_view positive = name;
    const FlagEntry* flag = FindFlag(name);
    if (flag == nullptr && !given && absl::ConsumePrefix(&positive, "no-")) {
      flag = FindFlag(positive);
      if (flag != nullptr && std::holds_alternative<Switch>(flag->kind)) {
        given = "false";
        name = positive;
      } else {
        flag = nullptr;
      }
    }
    if (flag == nullptr && name != "config") return UnknownFlag(absl::StrCat("--", name));
    auto value = TakeValue(flag, name, given, arguments, &i);
    if (!value.ok()) return value.status();
    const auto [place, first] = line.values.emplace(std::string(name), *value);
    if (first) continue;
    if (flag == nullptr || !std::holds_alternative<Addresses>(flag->kind)) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, ": expected once, got twice"));
    }
    absl::StrAppend(&place->second, ",", *value);
  }
  return line;
}

absl::Status ApplyFile(const std::string& path, absl::string_view source, const ReadFile& read_file,
                       Settings* settings) {
  if (path.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": expected a file, got nothing"));
  }
  const auto text = read_file(path);
  if (!text.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": cannot read ", path, ": ", text.status().message()));
  }
  const auto entries = ParseConfig(*text);
  if (!entries.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ":", entries.status().message()));
  }
  for (const ConfigEntry& entry : *entries) {
    const std::string place =
        absl::StrCat(path, ":", entry.line, ": ", absl::CHexEscape(entry.key));
    const FlagEntry* const flag = FindFlag(entry.key);
    if (flag == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(place, ": unknown; ", DidYouMean(Nearest(entry.key))));
    }
    LOSSD_RETURN_IF_ERROR(At(place, SetFlag(*flag, entry, settings)));
  }
  return absl::OkStatus();
}

bool IsForeign(absl::string_view name) {
  return std::find(kForeign.begin(), kForeign.end(), name) != kForeign.end() ||
         std::any_of(kForeignPrefixes.begin(), kForeignPrefixes.end(),
                     [&](absl::string_view prefix) { return absl::StartsWith(name, prefix); });
}

/// The variables that begin with LOSSD_, by name.
std::map<std::string, std::string> OwnVariables(const std::vector<std::string>& environment) {
  std::map<std::string, std::string> variables;
  for (const absl::string_view one : environment) {
    const size_t equals = one.find('=');
    if (!absl::StartsWith(one, kPrefix) || equals == absl::string_view::npos) continue;
    variables.emplace(one.substr(0, equals), one.substr(equals + 1));
  }
  return variables;
}

absl::Status ApplyVariables(std::map<std::string, std::string> variables, Invocation* invocation) {
  for (const FlagEntry& flag : FlagTable()) {
    const auto found = variables.find(VariableName(flag.name));
    if (found == variables.end()) continue;
    LOSSD_RETURN_IF_ERROR(At(found->first, SetFlag(flag, found->second, &invocation->settings)));
    variables.erase(found);
  }
  variables.erase(std::string(kConfigVariable));
  for (const auto& [name, value] : variables) {
    if (IsForeign(name)) continue;
    const std::string near = Nearest(absl::StripPrefix(name, kPrefix), {"config"});
    invocation->warnings.push_back(
        absl::StrCat(absl::CHexEscape(name), ": unknown variable, left alone; ",
                     DidYouMean(near.empty() ? near : VariableName(near))));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Invocation> ParseFlags(const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment,
                                      const ReadFile& read_file) {
  auto line = ReadCommandLine(arguments);
  if (!line.ok()) return line.status();
  Invocation invocation;
  invocation.action = line->action;
  if (invocation.action != Invocation::Action::kServe) return invocation;
  const auto variables = OwnVariables(environment);
  const auto in_line = line->values.find("config");
  const auto in_variables = variables.find(std::string(kConfigVariable));
  if (in_line != line->values.end()) {
    LOSSD_RETURN_IF_ERROR(ApplyFile(in_line->second, "--config", read_file, &invocation.settings));
    line->values.erase(in_line);
  } else if (in_variables != variables.end()) {
    LOSSD_RETURN_IF_ERROR(
        ApplyFile(in_variables->second, kConfigVariable, read_file, &invocation.settings));
  }
  LOSSD_RETURN_IF_ERROR(ApplyVariables(variables, &invocation));
  for (const auto& [name, value] : line->values) {
    LOSSD_RETURN_IF_ERROR(
        At(absl::StrCat("--", name), SetFlag(*FindFlag(name), value, &invocation.settings)));
  }
  return invocation;
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  constexpr size_t kMaxBytes = size_t{1} << 20U;
  struct Close {
    void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "re"));
  if (file == nullptr) return absl::NotFoundError(std::strerror(errno));
  std::string text(kMaxBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) return absl::UnavailableError(std::strerror(errno));
  if (text.size() > kMaxBytes) return absl::OutOfRangeError("it is longer than 1 MiB");
  return text;
}

std::string HelpText() {
  std::string text =
      "lossd: evaluates training losses over gRPC.\n\n"
      "Usage: lossd [--FLAG VALUE | --FLAG=VALUE]...\n\n"
      "A flag comes before its variable LOSSD_FLAG, and both before its line FLAG = VALUE in the\n"
      "config file.\n\n"
      "  --help, --version\n"
      "  --config FILE (LOSSD_CONFIG)\n      Read flags from this file, as TOML.\n";
  Settings defaults;
  for (const FlagEntry& flag : FlagTable()) {
    const bool is_switch = std::holds_alternative<Switch>(flag.kind);
    absl::StrAppend(&text, "  --", flag.name, is_switch ? absl::StrCat(", --no-", flag.name) : "",
                    " (", VariableName(flag.name), ")\n      ", flag.help, ": ", Expected(flag),
                    "; default ", ValueText(flag, &defaults), "\n");
  }
  return text;
}

}  // namespace lossd
