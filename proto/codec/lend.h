// Lets gRPC send bytes without copying them.
#ifndef LOSSD_PROTO_CODEC_LEND_H_
#define LOSSD_PROTO_CODEC_LEND_H_

#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lossd {

/// A slice that lends bytes to gRPC and keeps their owner until gRPC releases the slice. The
/// release may come after the end of a cancelled call, and on any thread.
grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);

/// Tensors of more bytes than this are lent to gRPC, not copied into a message.
constexpr size_t kLentBytes = size_t{16} * 1024;

/// Builds an encoded message in slices. Throws std::bad_alloc.
class SliceBuilder {
 public:
  /// `owner` keeps the tensors' bytes alive.
  explicit SliceBuilder(std::shared_ptr<const void> owner) : owner_(std::move(owner)) {}

  /// The text after the last slice; the caller may append to it.
  [[nodiscard]] std::string* text() { return &text_; }
  /// Appends `head` and `bytes`: large tensors are lent, small ones copied. Does nothing if `head`
  /// is empty.
  void Append(absl::string_view head, absl::Span<const std::byte> bytes);

  /// Whether any slice holds the owner.
  [[nodiscard]] bool lends() const { return !slices_.empty(); }
  std::vector<grpc::Slice> Take();

 private:
  const std::shared_ptr<const void> owner_;
  std::vector<grpc::Slice> slices_;
  std::string text_;  // Follows slices_.
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_LEND_H_
