#include "server/request_reader.h"

#include <grpc/slice.h>

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/problem/error.h"
#include "core/problem/plan.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/criterion_codec.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/request_form.h"
#include "proto/codec/wire_read.h"
#include "server/engine/memory_budget.h"
#include "server/message_io.h"

namespace lossd {
namespace {

/// Messages up to this size are looked up by their form; larger ones cost little to parse in
/// comparison with the rest.
constexpr size_t kFormBytes = size_t{64} << 10U;

/// The bytes of a small message in one slice; empty for any other message. Tiny messages are left
/// out: the slice object itself would hold their bytes, and moving it would invalidate views.
grpc::Slice OnePiece(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  if (bytes.Length() > kFormBytes || bytes.Length() <= GRPC_SLICE_INLINED_SIZE) return slice;
  if (!bytes.TrySingleSlice(&slice).ok()) bytes.DumpToSingleSlice(&slice).IgnoreError();
  return slice;
}

absl::string_view ViewOf(const grpc::Slice& slice) {
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};  // NOLINT(*-cast)
}

/// Fills `request` from `message`, which lies within `slice`, if its form is known.
bool Recognize(absl::string_view message, const grpc::Slice& slice, RequestForms* forms,
               IncomingRequest* request) {
  request->form = forms->Find(message);
  if (request->form == nullptr) return false;
  request->parsed.plan = request->form->plan();
  request->parsed.operands = request->form->OperandsOf(message);
  request->bytes = slice;
  return true;
}

/// Reserves the memory that a message is parsed into. Raw bytes are copied; numbers are kept in
/// vectors, which grow by doubling, and are encoded for the kernels.
AdmitParsed Reserving(const grpc::ByteBuffer& bytes, MemoryBudget::Reservation* held) {
  return [size = bytes.Length(), held](uint64_t number_bytes) {
    return held->Grow(SaturatingAdd(size, SaturatingMultiply(number_bytes, 4)));
  };
}

/// Parses `request`, a part of `message` or all of it. `encoded`: its bytes, if it is small.
absl::StatusOr<IncomingRequest> Parse(const v1::EvaluateRequest& request,
                                      std::shared_ptr<const google::protobuf::MessageLite> message,
                                      absl::string_view encoded, const PlanLimits& limits,
                                      RequestForms* forms, MemoryBudget::Reservation* held) {
  // The plan widens weights to doubles, four times the bytes of halves.
  const size_t weight_bytes = RawWeightBytes(request.criterion());
  if (weight_bytes > 0) LOSSD_RETURN_IF_ERROR(held->Grow(SaturatingMultiply(weight_bytes, 4)));
  auto parsed = ParseRequest(request, limits);
  if (!parsed.ok()) return parsed.status();
  IncomingRequest incoming;
  incoming.parsed = *std::move(parsed);
  incoming.message = std::move(message);
  if (!encoded.empty()) incoming.form = RequestForm::Of(encoded, incoming.parsed.plan);
  forms->Keep(incoming.form);
  return incoming;
}

/// Reads the two fields of an encoded v1.EvaluateManyRequest; false if it has any other structure.
bool SplitMany(absl::string_view message, uint64_t* id, absl::string_view* request) {
  using Many = v1::EvaluateManyRequest;
  FieldReader reader(message);
  bool first = true;
  while (reader.Next()) {
    if (reader.number() == Many::kIdFieldNumber && !reader.delimited() && first) {
      *id = reader.value();
    } else if (reader.number() == Many::kRequestFieldNumber && reader.delimited() &&
               request->data() == nullptr) {
      *request = reader.bytes();
    } else {
      return false;
    }
    first = false;
  }
  return reader.done() && request->data() != nullptr;
}

}  // namespace

absl::StatusOr<IncomingRequest> ReadRequest(const grpc::ByteBuffer& bytes, const PlanLimits& limits,
                                            RequestForms* forms, MemoryBudget::Reservation* held) {
  try {
    IncomingRequest request;
    const grpc::Slice slice = OnePiece(bytes);
    const absl::string_view encoded = ViewOf(slice);
    if (Recognize(encoded, slice, forms, &request)) return request;
    auto message = std::make_shared<v1::EvaluateRequest>();
    LOSSD_RETURN_IF_ERROR(ParseMessage(bytes, message.get(), Reserving(bytes, held)));
    return Parse(*message, message, encoded, limits, forms, held);
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

absl::StatusOr<ManyRequest> ReadManyRequest(const grpc::ByteBuffer& bytes, const PlanLimits& limits,
                                            RequestForms* forms, MemoryBudget::Reservation* held) {
  ManyRequest many;
  try {
    const grpc::Slice slice = OnePiece(bytes);
    absl::string_view encoded;
    if (SplitMany(ViewOf(slice), &many.id, &encoded)) {
      IncomingRequest request;
      if (Recognize(encoded, slice, forms, &request)) {
        many.request = std::move(request);
        return many;
      }
    } else {
      encoded = {};
    }
    auto message = std::make_shared<v1::EvaluateManyRequest>();
    const auto status = ParseMessage(bytes, message.get(), Reserving(bytes, held));
    if (!status.ok()) {
      // Bytes that are no message end the stream; any other error concerns this request alone.
      if (GetErrorDetail(status).reason == "MALFORMED_MESSAGE") return status;
      many.id = FindVarint(bytes, v1::EvaluateManyRequest::kIdFieldNumber);
      many.request = status;
      return many;
    }
    many.id = message->id();
    if (!message->has_request()) {
      many.request = InvalidField("request", "FIELD_MISSING", "expected a problem");
      return many;
    }
    many.request = Parse(message->request(), message, encoded, limits, forms, held);
    if (!many.request.ok()) {
      many.request = WithFieldPrefix(many.request.status(), "request.");
    }
    return many;
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

}  // namespace lossd
