// Bytes that gRPC sends from where they lie.
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

/// A slice that lends bytes to gRPC and keeps their owner until gRPC lets go of them, which may be
/// after the end of a call that was cancelled, and on any thread.
grpc::Slice Lend(absl::Span<const std::byte> bytes, std::shared_ptr<const void> owner);

/// Tensors of more bytes are lent to gRPC and not copied into a message.
constexpr size_t kLentBytes = size_t{16} * 1024;

/// Builds an encoded message in slices. Throws std::bad_alloc.
class SliceBuilder {
 public:
  /// `owner` keeps the bytes of tensors.
  explicit SliceBuilder(std::shared_ptr<const void> owner) : owner_(std::move(owner)) {}

  /// Where text is appended.
  [[nodiscard]] std::string* text() { return &text_; }
  /// `head` and the bytes that follow it: great tensors are lent, small ones copied. Nothing where
  /// there is no head.
  void Append(absl::string_view head, absl::Span<const std::byte> bytes);

  /// Whether any slice holds the owner.
  [[nodiscard]] bool lends() const { return !slices_.empty(); }
  std::vector<grpc::Slice> Take();

 private:
  const std::shared_ptr<const void> owner_;
  std::vector<grpc::Slice> slices_;
  std::string text_;  // What comes after them.
};

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_LEND_H_
