#include "server/config_file.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/problem/error.h"

namespace lossd {
namespace {

constexpr char kExpectedValue[] =
    "expected a string in quotes, a number, true, false, or an array of them";

bool IsBare(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
}

/// Reads a text from its beginning to its end.
class Reader {
 public:
  explicit Reader(absl::string_view text) : rest_(text) {}

  absl::StatusOr<std::vector<ConfigEntry>> Read() {
    std::vector<ConfigEntry> entries;
    absl::ConsumePrefix(&rest_, "\xEF\xBB\xBF");
    for (SkipLines(); !rest_.empty(); SkipLines()) {
      ConfigEntry entry;
      LOSSD_RETURN_IF_ERROR(ReadEntry(&entry));
      const bool again = std::any_of(entries.begin(), entries.end(),
                                     [&](const ConfigEntry& one) { return one.key == entry.key; });
      if (again) return Error(absl::StrCat(entry.key, ": given before"), entry.line);
      entries.push_back(std::move(entry));
    }
    return entries;
  }

 private:
  static absl::Status Error(absl::string_view what, int line) {
    return absl::InvalidArgumentError(absl::StrCat(line, ": ", what));
  }
  [[nodiscard]] absl::Status Error(absl::string_view what) const { return Error(what, line_); }

  void SkipBlanks() {
    while (absl::StartsWith(rest_, " ") || absl::StartsWith(rest_, "\t")) rest_.remove_prefix(1);
    if (absl::StartsWith(rest_, "#")) rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
  }

  /// Skips blanks, comments and line ends.
  void SkipLines() {
    for (SkipBlanks(); TakeLineEnd(); SkipBlanks()) {
    }
  }

  bool TakeLineEnd() {
    if (!absl::ConsumePrefix(&rest_, "\n") && !absl::ConsumePrefix(&rest_, "\r\n")) return false;
    ++line_;
    return true;
  }

  absl::Status ReadEntry(ConfigEntry* entry) {
    entry->line = line_;
    if (absl::StartsWith(rest_, "[")) return Error("expected KEY = VALUE; there are no tables");
    if (absl::StartsWith(rest_, "\"") || absl::StartsWith(rest_, "'")) {
      LOSSD_RETURN_IF_ERROR(ReadString(&entry->key));
    } else {
      size_t size = 0;
      while (size < rest_.size() && (IsBare(rest_[size]) || rest_[size] == '.')) ++size;
      entry->key = std::string(rest_.substr(0, size));
      rest_.remove_prefix(size);
    }
    SkipBlanks();
    if (entry->key.empty() || !absl::ConsumePrefix(&rest_, "=")) {
      return Error("expected KEY = VALUE");
    }
    SkipBlanks();
    LOSSD_RETURN_IF_ERROR(WithKey(entry->key, ReadValues(entry)));
    SkipBlanks();
    if (rest_.empty() || TakeLineEnd()) return absl::OkStatus();
    return Error(absl::StrCat(entry->key, ": expected the end of the line after its value"));
  }

  absl::Status WithKey(absl::string_view key, const absl::Status& status) const {
    return status.ok() ? status : Error(absl::StrCat(key, ": ", status.message()));
  }

  // The errors of the functions below do not include the line.
  absl::Status ReadValues(ConfigEntry* entry) {
    entry->array = absl::ConsumePrefix(&rest_, "[");
    if (!entry->array) return ReadValue(&entry->values.emplace_back());
    for (SkipLines(); !absl::ConsumePrefix(&rest_, "]"); SkipLines()) {
      LOSSD_RETURN_IF_ERROR(ReadValue(&entry->values.emplace_back()));
      SkipLines();
      if (!absl::ConsumePrefix(&rest_, ",") && !absl::StartsWith(rest_, "]")) {
        return absl::InvalidArgumentError("expected , or ] in its array");
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadValue(ConfigValue* value) {
    if (absl::StartsWith(rest_, "\"") || absl::StartsWith(rest_, "'")) {
      return ReadString(&value->text);
    }
    size_t size = 0;
    while (size < rest_.size() &&
           (IsBare(rest_[size]) || rest_[size] == '.' || rest_[size] == '+')) {
      ++size;
    }
    const absl::string_view word = rest_.substr(0, size);
    rest_.remove_prefix(size);
    if (word == "true" || word == "false") {
      value->type = ConfigValue::Type::kBoolean;
      value->text = std::string(word);
      return absl::OkStatus();
    }
    value->text = std::string(absl::StripPrefix(word, "+"));
    value->text.erase(std::remove(value->text.begin(), value->text.end(), '_'), value->text.end());
    const absl::string_view digits = absl::StripPrefix(value->text, "-");
    const auto is_digit = [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); };
    if (!digits.empty() && std::all_of(digits.begin(), digits.end(), is_digit)) {
      value->type = ConfigValue::Type::kInteger;
      return absl::OkStatus();
    }
    value->type = ConfigValue::Type::kFloat;
    double ignored = 0;
    const bool number = digits == "inf" || digits == "nan" ||
                        (!digits.empty() && is_digit(digits.front()) &&
                         digits.find_first_of("xX") == absl::string_view::npos &&
                         absl::SimpleAtod(value->text, &ignored));
    if (number) return absl::OkStatus();
    return absl::InvalidArgumentError(
        word.empty() ? std::string(kExpectedValue)
                     : absl::StrCat(kExpectedValue, ", got ", absl::CHexEscape(word)));
  }

  absl::Status ReadString(std::string* to) {
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    size_t end = 0;
    while (end < rest_.size() && rest_[end] != quote && rest_[end] != '\n') {
      end += quote == '"' && rest_[end] == '\\' ? 2 : 1;
    }
    if (end >= rest_.size() || rest_[end] != quote) {
      return absl::InvalidArgumentError("expected a closing quote on the same line");
    }
    const absl::string_view inside = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    if (quote == '\'') {
      *to = std::string(inside);
    } else if (!absl::CUnescape(inside, to)) {
      return absl::InvalidArgumentError("expected a string whose backslashes are escapes of TOML");
    }
    return absl::OkStatus();
  }

  absl::string_view rest_;
  int line_ = 1;
};

}  // namespace

absl::StatusOr<std::vector<ConfigEntry>> ParseConfig(absl::string_view text) {
  return Reader(text).Read();
}

}  // namespace lossd
