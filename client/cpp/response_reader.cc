#include "client/cpp/response_reader.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "core/problem/error.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/wire_read.h"
#include "proto/codec/wire_tag.h"
#include "proto/codec/wire_write.h"

namespace lossd {
namespace {

using Response = v1::EvaluateResponse;

/// No summary is longer.
constexpr uint64_t kMostSummaryBytes = 65536;

/// Reads through the bytes of several slices.
class Cursor {
 public:
  explicit Cursor(absl::Span<const grpc::Slice> slices) : slices_(slices) {}

  /// Copies the next `size` bytes; false if fewer are left.
  bool Copy(size_t size, void* to) {
    auto* at = static_cast<char*>(to);
    return Walk(size, [&at](const uint8_t* bytes, size_t count) {
      std::memcpy(at, bytes, count);
      at += count;
      return true;
    });
  }
  /// Takes the next bytes; false if they are not `expected`.
  bool Match(absl::string_view expected) {
    const char* at = expected.data();
    return Walk(expected.size(), [&at](const uint8_t* bytes, size_t count) {
      const bool same = std::memcmp(at, bytes, count) == 0;
      at += count;
      return same;
    });
  }
  [[nodiscard]] bool AtEnd() {
    SkipEmpty();
    return slices_.empty();
  }

 private:
  template <typename Visit>
  bool Walk(size_t size, const Visit& visit) {
    while (size > 0) {
      SkipEmpty();
      if (slices_.empty()) return false;
      const grpc::Slice& slice = slices_.front();
      const size_t count = std::min(size, slice.size() - at_);
      if (!visit(slice.begin() + at_, count)) return false;
      at_ += count;
      size -= count;
    }
    return true;
  }
  void SkipEmpty() {
    while (!slices_.empty() && at_ == slices_.front().size()) {
      slices_.remove_prefix(1);
      at_ = 0;
    }
  }

  absl::Span<const grpc::Slice> slices_;
  size_t at_ = 0;  // Offset within the first slice.
};

/// Reads a summary that Protobuf has parsed.
absl::Status ReadAnySummary(const v1::Summary& wire, LossResult* result) {
  auto summary = DecodeSummary(wire, "summary");
  if (!summary.ok()) return absl::DataLossError(summary.status().message());
  result->summary = *std::move(summary);
  return absl::OkStatus();
}

bool ReadSummaryField(const SummaryFrame& frame, const Summary* blank, Cursor* cursor,
                      LossResult* result) {
  constexpr auto kTag =
      static_cast<char>(MakeTag(Response::kSummaryFieldNumber, WireType::kDelimited));
  if (!cursor->Match({&kTag, 1})) return false;
  uint64_t size = 0;
  uint8_t byte = 0x80;
  for (unsigned shift = 0; byte >= 0x80; shift += 7) {
    if (shift > 21 || !cursor->Copy(1, &byte)) return false;
    size |= static_cast<uint64_t>(byte & 0x7FU) << shift;
  }
  if (size > kMostSummaryBytes) return false;
  std::string encoded(static_cast<size_t>(size), '\0');
  if (!cursor->Copy(encoded.size(), encoded.data())) return false;
  if (blank != nullptr) {
    result->summary = *blank;
    return ReadSummary(encoded, frame, &result->summary);
  }
  v1::Summary wire;
  return wire.ParseFromString(encoded) && ReadAnySummary(wire, result).ok();
}

absl::Status CopyOut(const v1::Tensor& from, absl::string_view name, const Tensor& to) {
  if (from.raw().size() != to.bytes().size()) {
    return absl::DataLossError(absl::StrCat("the server's reply has ", from.raw().size(),
                                            " bytes of ", name, ", expected ", to.bytes().size()));
  }
  if (!from.raw().empty()) std::memcpy(to.bytes().data(), from.raw().data(), from.raw().size());
  return absl::OkStatus();
}

/// Reads the response with Protobuf.
absl::Status ReadAny(const grpc::ByteBuffer& bytes, LossResult* result) {
  // The reader takes a non-const buffer but does not change it.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));  // NOLINT(*-cast)
  Response response;
  if (!reader.status().ok() || !response.ParseFromZeroCopyStream(&reader)) {
    return absl::DataLossError("the server's reply is no lossd.v1.EvaluateResponse");
  }
  LOSSD_RETURN_IF_ERROR(CopyOut(response.loss(), "loss", result->loss));
  LOSSD_RETURN_IF_ERROR(CopyOut(response.log_sum_exp(), "log_sum_exp", result->log_sum_exp));
  LOSSD_RETURN_IF_ERROR(CopyOut(response.grad_input(), "grad_input", result->grad_input));
  LOSSD_RETURN_IF_ERROR(CopyOut(response.grad_target(), "grad_target", result->grad_target));
  LOSSD_RETURN_IF_ERROR(CopyOut(response.grad_weight(), "grad_weight", result->grad_weight));
  return ReadAnySummary(response.summary(), result);
}

}  // namespace

bool ReadPlainResponse(absl::Span<const grpc::Slice> slices, const ResponseFrame& frame,
                       const Summary* blank, LossResult* result) {
  Cursor cursor(slices);
  const auto read = [&cursor](absl::string_view head, const Tensor& tensor) {
    const auto bytes = tensor.bytes();
    return head.empty() || (cursor.Match(head) && cursor.Copy(bytes.size(), bytes.data()));
  };
  return read(frame.loss, result->loss) && read(frame.log_sum_exp, result->log_sum_exp) &&
         read(frame.grad_weight, result->grad_weight) &&
         ReadSummaryField(frame.summary, blank, &cursor, result) &&
         read(frame.grad_target, result->grad_target) &&
         read(frame.grad_input, result->grad_input) && cursor.AtEnd();
}

absl::Status ReadResponse(const grpc::ByteBuffer& bytes, const ResponseFrame& frame,
                          const Summary* blank, LossResult* result) {
  grpc::Slice slice;
  if (bytes.TrySingleSlice(&slice).ok()) {
    if (ReadPlainResponse({&slice, 1}, frame, blank, result)) return absl::OkStatus();
  } else {
    std::vector<grpc::Slice> slices;
    if (bytes.Dump(&slices).ok() && ReadPlainResponse(slices, frame, blank, result)) {
      return absl::OkStatus();
    }
  }
  return ReadAny(bytes, result);
}

}  // namespace lossd
