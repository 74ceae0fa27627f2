#include "client/lossctl/npz.h"

#include <zip.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "client/lossctl/file.h"
#include "core/buffer.h"

namespace lossd {
namespace {

/// Upper bound of the bytes that deflate makes of one. An entry that states more is damaged.
constexpr uint64_t kMostGrowth = 1040;

struct ZipClose {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Archive = std::unique_ptr<zip_t, ZipClose>;

std::string Text(zip_error_t* error) {
  std::string text = zip_error_strerror(error);
  zip_error_fini(error);
  return text;
}

/// Opens an archive in memory. `bytes` must outlive it.
absl::StatusOr<Archive> OpenArchive(absl::Span<const std::byte> bytes, const std::string& path) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  if (source == nullptr) return BadFile(path, Text(&error));
  Archive archive(zip_open_from_source(source, ZIP_RDONLY, &error));
  if (archive == nullptr) {
    zip_source_free(source);
    return BadFile(path, Text(&error));
  }
  zip_error_fini(&error);
  return archive;
}

/// The entry to read: `key`; if that is empty, the one called `name`, or else the only one.
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
  return BadFile(path,
                 absl::StrCat("expected an array called ", key.empty() ? std::string(name) : key,
                              "; it has: ", absl::StrJoin(keys, ", ")));
}

absl::Status Damaged(const std::string& path, absl::string_view why) {
  return BadFile(path, absl::StrCat("the archive is damaged: ", why));
}

/// Reads the entry to its end, because libzip checks length and checksum only there.
absl::Status ReadToEnd(zip_file_t* file, const Buffer& to, const std::string& path) {
  for (size_t filled = 0; filled < to.size();) {
    const zip_int64_t got = zip_fread(file, to.data() + filled, to.size() - filled);
    if (got < 0) return Damaged(path, zip_file_strerror(file));
    if (got == 0) return Damaged(path, absl::StrCat("cut short after ", filled, " bytes"));
    filled += static_cast<size_t>(got);
  }
  std::byte beyond{};
  const zip_int64_t got = zip_fread(file, &beyond, 1);
  if (got < 0) return Damaged(path, zip_file_strerror(file));
  if (got > 0) return Damaged(path, absl::StrCat("more than the stated ", to.size(), " bytes"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NpzEntry> ReadNpz(const std::string& path, const std::string& key,
                                 absl::string_view name) {
  const auto mapping = Mapping::Open(path);
  if (!mapping.ok()) return mapping.status();
  const auto archive = OpenArchive((*mapping)->bytes(), path);
  if (!archive.ok()) return archive.status();
  const auto entry = ChooseEntry(archive->get(), path, key, name);
  if (!entry.ok()) return entry.status();
  const std::string field = absl::StrCat(path, ":", *entry);
  zip_stat_t info;
  zip_stat_init(&info);
  const std::unique_ptr<zip_file_t, ZipClose> file(zip_fopen(archive->get(), entry->c_str(), 0));
  if (file == nullptr || zip_stat(archive->get(), entry->c_str(), 0, &info) != 0) {
    return BadFile(field, zip_strerror(archive->get()));
  }
  if (info.size / kMostGrowth > info.comp_size + 1) {
    return Damaged(field,
                   absl::StrCat("states ", info.size, " bytes, packed into ", info.comp_size));
  }
  auto bytes = std::make_shared<const Buffer>(info.size);
  if (const auto status = ReadToEnd(file.get(), *bytes, field); !status.ok()) return status;
  return NpzEntry{field, bytes};
}

}  // namespace lossd
