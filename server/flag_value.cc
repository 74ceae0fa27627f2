// Converts the values of all kinds of flags from text and back.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/problem/error.h"
#include "server/flag_table.h"
#include "server/listen_address.h"

namespace lossd {
namespace {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

constexpr double kLeastSeconds = 0.001;
constexpr std::array<absl::string_view, 5> kUnits = {"", "KiB", "MiB", "GiB", "TiB"};

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

absl::Status Unexpected(const FlagEntry& flag, absl::string_view got) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", Expected(flag), ", got ",
                   got.empty() ? "nothing" : absl::StrCat("\"", absl::CHexEscape(got), "\"")));
}

/// Accepts only digits, after an optional minus; nullopt for numbers that do not fit 64 bits.
template <typename Integer>
std::optional<Integer> ParseWhole(absl::string_view text) {
  const absl::string_view digits =
      std::numeric_limits<Integer>::is_signed ? absl::StripPrefix(text, "-") : text;
  Integer value = 0;
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), IsDigit) ||
      !absl::SimpleAtoi(text, &value)) {
    return std::nullopt;
  }
  return value;
}

/// 512MiB, 512M, 512mb and 536870912 are the same number.
std::optional<uint64_t> ParseBytes(absl::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), IsDigit);
  const absl::string_view digits = text.substr(0, static_cast<size_t>(end - text.begin()));
  const absl::string_view unit = absl::StripLeadingAsciiWhitespace(text.substr(digits.size()));
  const auto value = ParseWhole<uint64_t>(digits);
  if (!value) return std::nullopt;
  if (unit.empty() || absl::EqualsIgnoreCase(unit, "B")) return value;
  for (size_t i = 1; i < kUnits.size(); ++i) {
    const absl::string_view full = kUnits[i];
    const std::string with_b = absl::StrCat(full.substr(0, 1), "B");
    if (!absl::EqualsIgnoreCase(unit, full) && !absl::EqualsIgnoreCase(unit, with_b) &&
        !absl::EqualsIgnoreCase(unit, full.substr(0, 2)) &&
        !absl::EqualsIgnoreCase(unit, full.substr(0, 1))) {
      continue;
    }
    const auto shift = static_cast<unsigned>(10 * i);
    if (*value > std::numeric_limits<uint64_t>::max() >> shift) return std::nullopt;
    return *value << shift;
  }
  return std::nullopt;
}

/// Uses the largest unit that leaves a whole number.
std::string BytesText(uint64_t bytes) {
  size_t unit = 0;
  for (; bytes > 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  return absl::StrCat(bytes, kUnits[unit]);
}

/// Accepts digits with an optional point or exponent: 2, 0.5, 1e3. Rejects infinities and NaN.
std::optional<double> ParseSeconds(absl::string_view text) {
  double value = 0;
  const bool plain = !text.empty() && (IsDigit(text.front()) || text.front() == '.') &&
                     absl::ascii_isalnum(static_cast<unsigned char>(text.back())) &&
                     text.find_first_of("xX") == absl::string_view::npos;
  if (!plain || !absl::SimpleAtod(text, &value) || !std::isfinite(value)) return std::nullopt;
  // A nonzero number too small for a double must not count as zero.
  const bool zero = text.substr(0, text.find_first_of("eE")).find_first_of("123456789") ==
                    absl::string_view::npos;
  if (value < kLeastSeconds && !zero) return std::nullopt;
  return value;
}

std::optional<bool> ParseSwitch(absl::string_view text) {
  const std::string word = absl::AsciiStrToLower(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0") return false;
  return std::nullopt;
}

absl::Status SetAddresses(const std::vector<absl::string_view>& texts,
                          std::vector<std::string>* to) {
  std::vector<std::string> addresses;
  for (const absl::string_view text : texts) {
    const absl::string_view one = absl::StripAsciiWhitespace(text);
    const auto parsed = ParseListenAddress(one);
    if (!parsed.ok()) return parsed.status();
    if (parsed->port != 0 || parsed->is_unix()) {
      if (std::find(addresses.begin(), addresses.end(), one) != addresses.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected every address once, got ", one, " twice"));
      }
    }
    addresses.emplace_back(one);
  }
  if (addresses.empty()) return absl::InvalidArgumentError("expected at least one address");
  *to = std::move(addresses);
  return absl::OkStatus();
}

using Type = ConfigValue::Type;

/// Whether a file may give the flag a value of this type.
bool Takes(const FlagEntry& flag, Type type) {
  return std::visit(
      Overloaded{[&](const WholeNumber&) { return type == Type::kInteger; },
                 [&](const ByteCount&) { return type == Type::kInteger || type == Type::kString; },
                 [&](const SecondCount&) { return type == Type::kInteger || type == Type::kFloat; },
                 [&](const Switch&) { return type == Type::kBoolean; },
                 [&](const auto&) { return type == Type::kString; }},
      flag.kind);
}

absl::string_view TypeName(Type type) {
  switch (type) {
    case Type::kString:
      return "the string";
    case Type::kBoolean:
      return "the boolean";
    default:
      return "the number";
  }
}

}  // namespace

std::string Expected(const FlagEntry& flag) {
  return std::visit(
      Overloaded{[](const WholeNumber& kind) {
                   return absl::StrCat("a whole number from ", kind.least, " to ", kind.most);
                 },
                 [](const ByteCount& kind) {
                   return absl::StrCat("bytes from ", BytesText(kind.least), " to ",
                                       BytesText(kind.most), ", such as 512MiB");
                 },
                 [](const SecondCount& kind) {
                   return absl::StrCat("seconds from ", kLeastSeconds, " to ", kind.most, ", or 0",
                                       kind.zero_is_no_limit ? " for no limit" : "");
                 },
                 [](const Switch&) { return std::string("true or false"); },
                 [](const OneOf& kind) {
                   return absl::StrCat("one of ", absl::StrJoin(kind.words, ", "));
                 },
                 [](const Addresses&) { return std::string("HOST:PORT or unix:PATH"); }},
      flag.kind);
}

std::string ValueText(const FlagEntry& flag, Settings* settings) {
  return std::visit(
      Overloaded{
          [&](const WholeNumber& kind) {
            return std::visit([&](auto field) { return absl::StrCat(*field(settings)); },
                              kind.field);
          },
          [&](const ByteCount& kind) { return BytesText(*kind.field(settings)); },
          [&](const SecondCount& kind) {
            const absl::Duration value = *kind.field(settings);
            return absl::StrCat(value == absl::InfiniteDuration() ? 0
                                                                  : absl::ToDoubleSeconds(value));
          },
          [&](const Switch& kind) { return std::string(*kind.field(settings) ? "true" : "false"); },
          [&](const OneOf& kind) { return *kind.field(settings); },
          [&](const Addresses& kind) { return absl::StrJoin(*kind.field(settings), ","); }},
      flag.kind);
}

absl::Status SetFlag(const FlagEntry& flag, absl::string_view text, Settings* settings) {
  const bool set =
      std::visit(Overloaded{[&](const WholeNumber& kind) {
                              const auto value = ParseWhole<int64_t>(text);
                              if (!value || *value < kind.least || *value > kind.most) return false;
                              std::visit(
                                  [&](auto field) {
                                    using Field = std::remove_pointer_t<decltype(field(settings))>;
                                    *field(settings) = static_cast<Field>(*value);
                                  },
                                  kind.field);
                              return true;
                            },
                            [&](const ByteCount& kind) {
                              const auto value = ParseBytes(text);
                              if (!value || *value < kind.least || *value > kind.most) return false;
                              *kind.field(settings) = *value;
                              return true;
                            },
                            [&](const SecondCount& kind) {
                              const auto value = ParseSeconds(text);
                              if (!value || *value > static_cast<double>(kind.most)) return false;
                              *kind.field(settings) = *value == 0 && kind.zero_is_no_limit
                                                          ? absl::InfiniteDuration()
                                                          : absl::Seconds(*value);
                              return true;
                            },
                            [&](const Switch& kind) {
                              const auto value = ParseSwitch(text);
                              if (value) *kind.field(settings) = *value;
                              return value.has_value();
                            },
                            [&](const OneOf& kind) {
                              const bool known = std::find(kind.words.begin(), kind.words.end(),
                                                           text) != kind.words.end();
                              if (known) *kind.field(settings) = std::string(text);
                              return known;
                            },
                            [](const Addresses&) { return true; }},
                 flag.kind);
  if (!set) return Unexpected(flag, text);
  const auto* const addresses = std::get_if<Addresses>(&flag.kind);
  if (addresses == nullptr) return absl::OkStatus();
  return SetAddresses(absl::StrSplit(text, ','), addresses->field(settings));
}

absl::Status SetFlag(const FlagEntry& flag, const ConfigEntry& entry, Settings* settings) {
  const auto* const addresses = std::get_if<Addresses>(&flag.kind);
  if (entry.array && addresses == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", Expected(flag), ", got an array"));
  }
  std::vector<absl::string_view> texts;
  for (const ConfigValue& value : entry.values) {
    if (!Takes(flag, value.type)) {
      return absl::InvalidArgumentError(absl::StrCat("expected ", Expected(flag), ", got ",
                                                     TypeName(value.type), " ",
                                                     absl::CHexEscape(value.text)));
    }
    texts.emplace_back(value.text);
  }
  if (addresses != nullptr) return SetAddresses(texts, addresses->field(settings));
  return SetFlag(flag, texts.front(), settings);
}

}  // namespace lossd
