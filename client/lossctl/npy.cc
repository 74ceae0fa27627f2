#include "client/lossctl/npy.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/buffer.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/load.h"
#include "core/tensor.h"

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

absl::Status Bad(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what));
}

/// The text after `'key':` in the header's Python dictionary.
std::optional<absl::string_view> ValueOf(absl::string_view header, absl::string_view key) {
  const size_t at = header.find(absl::StrCat("'", key, "'"));
  if (at == absl::string_view::npos) return std::nullopt;
  const size_t colon = header.find(':', at);
  if (colon == absl::string_view::npos) return std::nullopt;
  return absl::StripLeadingAsciiWhitespace(header.substr(colon + 1));
}

absl::StatusOr<DType> ParseType(absl::string_view header, const std::string& path) {
  const auto value = ValueOf(header, "descr");
  if (!value || value->size() < 2 || value->front() != '\'') {
    return Bad(path, "not an array of numbers (no simple 'descr' in the header)");
  }
  const absl::string_view descr = value->substr(1, value->find('\'', 1) - 1);
  if (absl::StartsWith(descr, ">")) {
    return Bad(path, absl::StrCat("expected little-endian elements, got ", descr));
  }
  for (const TypeName& type : kTypes) {
    if (!descr.empty() && descr.substr(1) == type.descr) return type.dtype;
  }
  return Bad(path,
             absl::StrCat("expected float16/32/64, bfloat16 or an integer type, got ", descr));
}

absl::StatusOr<Shape> ParseShape(absl::string_view header, const std::string& path) {
  const auto value = ValueOf(header, "shape");
  const size_t end = value ? value->find(')') : absl::string_view::npos;
  if (end == absl::string_view::npos || value->front() != '(') {
    return Bad(path, "no 'shape' in the header");
  }
  Shape shape;
  for (absl::string_view part : absl::StrSplit(value->substr(1, end - 1), ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (part.empty()) continue;  // (3,) has a trailing comma and () nothing at all.
    int64_t size = 0;
    if (!absl::SimpleAtoi(part, &size)) return Bad(path, "a 'shape' that is not made of numbers");
    shape.push_back(size);
  }
  return shape;
}

/// Turns first-index-fastest into last-index-fastest.
NpyArray FromFortran(const TensorView& view) {
  auto buffer = std::make_shared<Buffer>(view.bytes.size());
  const size_t size = SizeOf(view.spec.dtype);
  const size_t rank = view.spec.shape.size();
  std::vector<int64_t> index(rank, 0);
  for (size_t element = 0; element < view.bytes.size() / size; ++element) {
    int64_t at = 0;
    for (size_t d = rank; d-- > 0;) at = at * view.spec.shape[d] + index[d];
    std::memcpy(buffer->data() + element * size, view.bytes.data() + static_cast<size_t>(at) * size,
                size);
    for (size_t d = rank; d-- > 0 && ++index[d] == view.spec.shape[d];) index[d] = 0;
  }
  return {{view.spec, {buffer->data(), buffer->size()}}, buffer};
}

/// A file mapped read-only.
class Mapping {
 public:
  static absl::StatusOr<std::shared_ptr<Mapping>> Open(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Bad(path, std::strerror(errno));
    struct stat info {};
    auto mapping = std::make_shared<Mapping>();
    absl::Status status;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      status = Bad(path, "not a regular file");
    } else if (info.st_size > 0) {
      void* memory =
          mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
      if (memory == MAP_FAILED) {
        status = Bad(path, std::strerror(errno));
      } else {
        mapping->bytes_ = {static_cast<const std::byte*>(memory),
                           static_cast<size_t>(info.st_size)};
      }
    }
    close(fd);
    if (!status.ok()) return status;
    return mapping;
  }

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (bytes_.empty()) return;
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());  // NOLINT(*-const-cast)
  }
  [[nodiscard]] absl::Span<const std::byte> bytes() const { return bytes_; }

 private:
  absl::Span<const std::byte> bytes_;
};

struct ZipClose {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

/// The entry to read: `key`, else the one called `name`, else the only one.
absl::StatusOr<std::string> ChooseEntry(zip_t* archive, const std::string& path,
                                        const std::string& key, absl::string_view name) {
  std::vector<std::string> keys;
  for (zip_int64_t i = 0; i < zip_get_num_entries(archive, 0); ++i) {
    const char* entry = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    keys.emplace_back(entry == nullptr ? "" : entry);
    if (absl::EndsWith(keys.back(), ".npy")) keys.back().resize(keys.back().size() - 4);
  }
  for (const std::string& wanted : {key, std::string(name)}) {
    if (!wanted.empty() && std::find(keys.begin(), keys.end(), wanted) != keys.end()) {
      return absl::StrCat(wanted, ".npy");
    }
    if (!key.empty()) break;
  }
  if (key.empty() && keys.size() == 1) return absl::StrCat(keys[0], ".npy");
  return Bad(path, absl::StrCat("expected an array called ", key.empty() ? std::string(name) : key,
                                "; it has: ", absl::StrJoin(keys, ", ")));
}

absl::StatusOr<NpyArray> ReadNpz(const std::string& path, const std::string& key,
                                 absl::string_view name) {
  int error = 0;
  const std::unique_ptr<zip_t, ZipClose> archive(zip_open(path.c_str(), ZIP_RDONLY, &error));
  if (archive == nullptr) {
    zip_error_t details;
    zip_error_init_with_code(&details, error);
    const std::string text = zip_error_strerror(&details);
    zip_error_fini(&details);
    return Bad(path, text);
  }
  auto entry = ChooseEntry(archive.get(), path, key, name);
  if (!entry.ok()) return entry.status();
  zip_stat_t info;
  zip_stat_init(&info);
  const std::unique_ptr<zip_file_t, ZipClose> file(zip_fopen(archive.get(), entry->c_str(), 0));
  if (file == nullptr || zip_stat(archive.get(), entry->c_str(), 0, &info) != 0) {
    return Bad(path, zip_strerror(archive.get()));
  }
  auto buffer = std::make_shared<Buffer>(info.size);
  for (uint64_t filled = 0; filled < info.size;) {
    const zip_int64_t got = zip_fread(file.get(), buffer->data() + filled, info.size - filled);
    if (got <= 0) return Bad(path, "the archive is damaged or cut short");
    filled += static_cast<uint64_t>(got);
  }
  return ParseNpy({buffer->data(), buffer->size()}, absl::StrCat(path, ":", *entry), buffer);
}

}  // namespace

absl::StatusOr<NpyArray> ParseNpy(absl::Span<const std::byte> file, const std::string& path,
                                  std::shared_ptr<const void> owner) {
  const absl::string_view text(reinterpret_cast<const char*>(file.data()),  // NOLINT(*-cast)
                               file.size());
  if (text.size() < 10 || !absl::StartsWith(text, kMagic)) {
    return Bad(path, "not a .npy file");
  }
  const bool wide = text[6] >= 2;
  const size_t start = wide ? 12 : 10;
  if (text.size() < start) return Bad(path, "cut short in the header");
  const size_t length =
      wide ? LoadRaw<uint32_t>(file.data() + 8) : LoadRaw<uint16_t>(file.data() + 8);
  if (text.size() - start < length) return Bad(path, "cut short in the header");
  const absl::string_view header = text.substr(start, length);
  NpyArray array;
  auto dtype = ParseType(header, path);
  if (!dtype.ok()) return dtype.status();
  auto shape = ParseShape(header, path);
  if (!shape.ok()) return shape.status();
  array.view.spec = {*dtype, *std::move(shape)};
  array.view.bytes = file.subspan(start + length);
  array.owner = std::move(owner);
  LOSSD_RETURN_IF_ERROR(CheckBytes(array.view, path));
  const auto fortran = ValueOf(header, "fortran_order");
  if (fortran && absl::StartsWith(*fortran, "True")) return FromFortran(array.view);
  return array;
}

absl::StatusOr<NpyArray> ReadNpy(const std::string& path, absl::string_view name) {
  const size_t zip = path.rfind(".npz");
  if (zip != std::string::npos && (zip + 4 == path.size() || path[zip + 4] == ':')) {
    const std::string key = zip + 4 == path.size() ? "" : path.substr(zip + 5);
    return ReadNpz(path.substr(0, zip + 4), key, name);
  }
  auto mapping = Mapping::Open(path);
  if (!mapping.ok()) return mapping.status();
  return ParseNpy((*mapping)->bytes(), path, *mapping);
}

absl::Status WriteNpy(const std::string& path, const TensorView& view) {
  absl::string_view type;
  for (const TypeName& known : kTypes) {
    if (known.dtype == view.spec.dtype) type = known.descr;
  }
  std::string header =
      absl::StrCat("{'descr': '", SizeOf(view.spec.dtype) == 1 ? "|" : "<", type,
                   "', 'fortran_order': False, 'shape': (", absl::StrJoin(view.spec.shape, ", "),
                   view.spec.shape.size() == 1 ? ",), }" : "), }");
  constexpr size_t kPrefix = 10;
  while ((kPrefix + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string start(kMagic);
  start += {'\x01', '\x00', static_cast<char>(header.size() & 0xFFU),
            static_cast<char>(header.size() >> 8U)};
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return Bad(path, std::strerror(errno));
  bool good = std::fwrite(start.data(), 1, start.size(), file) == start.size() &&
              std::fwrite(header.data(), 1, header.size(), file) == header.size();
  if (!view.bytes.empty()) {
    good = good && std::fwrite(view.bytes.data(), 1, view.bytes.size(), file) == view.bytes.size();
  }
  const int saved = errno;
  if (std::fclose(file) != 0 || !good) return Bad(path, std::strerror(good ? errno : saved));
  return absl::OkStatus();
}

}  // namespace lossd
