#include "proto/codec/lend.h"

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lossd {

grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  auto* held = new std::shared_ptr<const void>(std::move(owner));
  return {const_cast<std::byte*>(bytes.data()), bytes.size(),  // NOLINT(*-const-cast): only read.
          [](void* owned) { delete static_cast<std::shared_ptr<const void>*>(owned); }, held};
}

void SliceBuilder::Append(absl::string_view head, absl::Span<const std::byte> bytes) {
  if (head.empty()) return;
  text_.append(head.data(), head.size());
  if (bytes.size() <= kLentBytes) {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());  // NOLINT(*-cast)
    return;
  }
  slices_.emplace_back(text_);
  text_.clear();
  slices_.push_back(Lend(bytes, owner_));
}

std::vector<grpc::Slice> SliceBuilder::Take() {
  if (!text_.empty()) slices_.emplace_back(text_);
  return std::move(slices_);
}

}  // namespace lossd
