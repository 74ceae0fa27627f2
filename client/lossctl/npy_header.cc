#include "client/lossctl/npy_header.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/lossctl/file.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/problem/tensor.h"

namespace lossd {
namespace {

constexpr absl::string_view kMagic = "\x93NUMPY";

struct TypeName {
  absl::string_view descr;
  DType dtype;
};
constexpr std::array<TypeName, 12> kTypes = {{{"f4", DType::kFloat32},
                                              {"f8", DType::kFloat64},
                                              {"f2", DType::kFloat16},
                                              {"V2", DType::kBFloat16},
                                              {"i1", DType::kInt8},
                                              {"i2", DType::kInt16},
                                              {"i4", DType::kInt32},
                                              {"i8", DType::kInt64},
                                              {"u1", DType::kUInt8},
                                              {"u2", DType::kUInt16},
                                              {"u4", DType::kUInt32},
                                              {"u8", DType::kUInt64}}};

/// Takes Python literals off the front of a text. Each method returns false, or nullopt, if the
/// text begins with something else.
class Literals {
 public:
  explicit Literals(absl::string_view text) : left_(text) {}

  bool Take(absl::string_view token) {
    SkipSpace();
    return absl::ConsumePrefix(&left_, token);
  }
  [[nodiscard]] bool Sees(char c) {
    SkipSpace();
    return !left_.empty() && left_.front() == c;
  }
  /// A string in single or double quotes. Refuses escapes, which no header needs.
  std::optional<absl::string_view> TakeString() {
    SkipSpace();
    absl::string_view text = left_;
    absl::ConsumePrefix(&text, "u");  // A Python 2 prefix.
    if (text.empty() || (text.front() != '\'' && text.front() != '"')) return std::nullopt;
    const size_t end = text.find(text.front(), 1);
    if (end == absl::string_view::npos) return std::nullopt;
    const absl::string_view value = text.substr(1, end - 1);
    if (absl::StrContains(value, '\\')) return std::nullopt;
    left_ = text.substr(end + 1);
    return value;
  }
  /// A tuple of integers, which may have the suffix L of Python 2.
  std::optional<Shape> TakeSizes() {
    if (!Take("(")) return std::nullopt;
    Shape sizes;
    bool comma = true;
    while (!Take(")")) {
      size_t digits = 0;
      while (digits < left_.size() &&
             (absl::ascii_isdigit(static_cast<unsigned char>(left_[digits])) ||
              left_[digits] == '-')) {
        ++digits;
      }
      int64_t size = 0;
      if (!comma || !absl::SimpleAtoi(left_.substr(0, digits), &size)) return std::nullopt;
      left_.remove_prefix(digits);
      absl::ConsumePrefix(&left_, "L");
      sizes.push_back(size);
      comma = Take(",");
    }
    // (3) is a number, not a tuple.
    if (sizes.size() == 1 && !comma) return std::nullopt;
    return sizes;
  }

 private:
  void SkipSpace() { left_ = absl::StripLeadingAsciiWhitespace(left_); }

  absl::string_view left_;
};

absl::Status SetType(absl::string_view descr, absl::string_view path, NpyHeader* header) {
  absl::string_view name = descr;
  // "=", native order, is little-endian: the program runs only on little-endian machines.
  header->big_endian = absl::ConsumePrefix(&name, ">");
  if (!header->big_endian && !absl::ConsumePrefix(&name, "<") && !absl::ConsumePrefix(&name, "|")) {
    absl::ConsumePrefix(&name, "=");
  }
  for (const TypeName& type : kTypes) {
    if (name != type.descr) continue;
    header->spec.dtype = type.dtype;
    // Void has no byte order.
    if (type.dtype == DType::kBFloat16) header->big_endian = false;
    return absl::OkStatus();
  }
  return BadFile(path,
                 absl::StrCat("expected float16/32/64, bfloat16 or an integer type, got ", descr,
                              descr == "|O" ? " (Python objects, which are not read)" : ""));
}

absl::Status ParseDictionary(absl::string_view text, absl::string_view path, NpyHeader* header) {
  absl::Status malformed = BadFile(
      path, "expected a header with 'descr', 'fortran_order' and 'shape' as numpy writes it");
  Literals literals(text);
  bool has_descr = false;
  bool has_order = false;
  bool has_shape = false;
  if (!literals.Take("{")) return malformed;
  while (!literals.Take("}")) {
    const auto key = literals.TakeString();
    if (!key || !literals.Take(":")) return malformed;
    if (*key == "descr") {
      if (literals.Sees('[')) {
        return BadFile(path, "expected an array of numbers, got one of records");
      }
      const auto descr = literals.TakeString();
      if (!descr) return malformed;
      LOSSD_RETURN_IF_ERROR(SetType(*descr, path, header));
      has_descr = true;
    } else if (*key == "fortran_order") {
      header->fortran_order = literals.Take("True");
      if (!header->fortran_order && !literals.Take("False")) return malformed;
      has_order = true;
    } else if (*key == "shape") {
      auto sizes = literals.TakeSizes();
      if (!sizes) return BadFile(path, "expected a 'shape' that is a tuple of integers");
      header->spec.shape = *std::move(sizes);
      has_shape = true;
    } else {
      return malformed;
    }
    if (!literals.Take(",") && !literals.Sees('}')) return malformed;
  }
  return has_descr && has_order && has_shape ? absl::OkStatus() : malformed;
}

}  // namespace

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view file, absl::string_view path) {
  if (file.empty()) return BadFile(path, "expected a .npy file, got an empty one");
  if (!absl::StartsWith(file, kMagic)) return BadFile(path, "not a .npy file");
  constexpr absl::string_view kCut = "cut short in the header";
  constexpr size_t kNarrow = 10;
  constexpr size_t kWide = 12;
  if (file.size() < kNarrow) return BadFile(path, kCut);
  const auto major = static_cast<unsigned>(static_cast<uint8_t>(file[6]));
  const auto minor = static_cast<unsigned>(static_cast<uint8_t>(file[7]));
  if (major < 1 || major > 3 || minor != 0) {
    return BadFile(path, absl::StrCat("expected format 1.0, 2.0 or 3.0, got ", major, ".", minor));
  }
  const size_t start = major == 1 ? kNarrow : kWide;
  if (file.size() < start) return BadFile(path, kCut);
  const auto* length_at = reinterpret_cast<const std::byte*>(file.data()) + 8;  // NOLINT(*-cast)
  const size_t length = major == 1 ? LoadRaw<uint16_t>(length_at) : LoadRaw<uint32_t>(length_at);
  if (file.size() - start < length) return BadFile(path, kCut);
  NpyHeader header;
  header.size = start + length;
  LOSSD_RETURN_IF_ERROR(ParseDictionary(file.substr(start, length), path, &header));
  return header;
}

std::string MakeNpyHeader(const TensorSpec& spec) {
  absl::string_view type;
  for (const TypeName& known : kTypes) {
    if (known.dtype == spec.dtype) type = known.descr;
  }
  std::string text =
      absl::StrCat("{'descr': '", SizeOf(spec.dtype) == 1 ? "|" : "<", type,
                   "', 'fortran_order': False, 'shape': (", absl::StrJoin(spec.shape, ", "),
                   spec.shape.size() == 1 ? ",), }" : "), }");
  constexpr size_t kPrefix = 10;
  while ((kPrefix + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string header(kMagic);
  header += {'\x01', '\x00', static_cast<char>(text.size() & 0xFFU),
             static_cast<char>(text.size() >> 8U)};
  return header + text;
}

}  // namespace lossd
