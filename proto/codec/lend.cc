#include "proto/codec/lend.h"

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/types/span.h"

namespace lossd {

grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  auto* held = new std::shared_ptr<const void>(std::move(owner));
  return {const_cast<std::byte*>(bytes.data()), bytes.size(),  // NOLINT(*-const-cast): only read.
          [](void* owned) { delete static_cast<std::shared_ptr<const void>*>(owned); }, held};
}

}  // namespace lossd
