#include "client/lossctl/npy.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/lossctl/file.h"
#include "client/lossctl/npy_header.h"
#include "client/lossctl/npz.h"
#include "core/buffer.h"
#include "core/problem/dtype.h"
#include "core/problem/error.h"
#include "core/problem/tensor.h"

namespace lossd {
namespace {

absl::string_view AsText(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};  // NOLINT(*-cast)
}

/// Reverses the bytes of each element.
NpyArray FromBigEndian(const TensorView& view) {
  const auto buffer = std::make_shared<Buffer>(view.bytes.size());
  const size_t size = SizeOf(view.spec.dtype);
  for (size_t at = 0; at < view.bytes.size(); at += size) {
    std::reverse_copy(view.bytes.begin() + static_cast<ptrdiff_t>(at),
                      view.bytes.begin() + static_cast<ptrdiff_t>(at + size), buffer->data() + at);
  }
  return {{view.spec, {buffer->data(), buffer->size()}}, buffer};
}

/// Converts Fortran order (first index fastest) to C order (last index fastest).
NpyArray FromFortran(const TensorView& view) {
  const auto buffer = std::make_shared<Buffer>(view.bytes.size());
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

}  // namespace

absl::StatusOr<NpyArray> ParseNpy(absl::Span<const std::byte> file, const std::string& path,
                                  std::shared_ptr<const void> owner) {
  auto header = ParseNpyHeader(AsText(file), path);
  if (!header.ok()) return header.status();
  NpyArray array{{std::move(header->spec), file.subspan(header->size)}, std::move(owner)};
  LOSSD_RETURN_IF_ERROR(CheckBytes(array.view, path));
  if (header->big_endian && SizeOf(array.view.spec.dtype) > 1) array = FromBigEndian(array.view);
  if (header->fortran_order && array.view.spec.shape.size() > 1) array = FromFortran(array.view);
  return array;
}

absl::StatusOr<NpyArray> ReadNpy(const std::string& path, absl::string_view name) {
  const size_t zip = path.rfind(".npz");
  if (zip != std::string::npos && (zip + 4 == path.size() || path[zip + 4] == ':')) {
    const std::string key = zip + 4 == path.size() ? "" : path.substr(zip + 5);
    const auto entry = ReadNpz(path.substr(0, zip + 4), key, name);
    if (!entry.ok()) return entry.status();
    return ParseNpy({entry->bytes->data(), entry->bytes->size()}, entry->name, entry->bytes);
  }
  const auto mapping = Mapping::Open(path);
  if (!mapping.ok()) return mapping.status();
  return ParseNpy((*mapping)->bytes(), path, *mapping);
}

absl::Status WriteNpy(const std::string& path, const TensorView& view) {
  return WriteFile(path, {MakeNpyHeader(view.spec), AsText(view.bytes)});
}

}  // namespace lossd
