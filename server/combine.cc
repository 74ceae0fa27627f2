#include "server/combine.h"

#include <google/protobuf/io/coded_stream.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/tensor_codec.h"
#include "proto/codec/wire_check.h"
#include "proto/codec/wire_tag.h"
#include "server/engine/memory_budget.h"
#include "server/engine/worker_pool.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"

namespace lossd {
namespace {

using google::protobuf::io::CodedInputStream;

/// Number of summaries merged before other requests get their turn: a few milliseconds.
constexpr int kPiece = 1024;
/// Number of summaries merged on the thread where they arrived: too few to wake a worker for.
constexpr int kFew = 32;
/// Maximum bytes of one summary. The widest possible one takes less than 1 KiB.
constexpr uint32_t kMostSummaryBytes = uint32_t{64} << 10U;

absl::Status Malformed() {
  return InvalidField("", "MALFORMED_MESSAGE", "expected an encoded lossd.v1.CombineRequest");
}

v1::CombineResponse ResponseOf(const Summary& summary) {
  v1::CombineResponse response;
  ToWire(summary, response.mutable_summary());
  if (summary.criterion.reduction == Reduction::kNone) return response;
  const DType dtype = LossDType(summary.input_dtype);
  std::array<std::byte, sizeof(double)> bytes{};
  StoreFromDouble(dtype, ReducedLoss(summary), bytes.data());
  FillTensor({dtype, {}}, {bytes.data(), SizeOf(dtype)}, /*typed=*/true, response.mutable_loss());
  return response;
}

/// The summaries of one request; owned by the task that merges the next piece.
class CombineJob : public std::enable_shared_from_this<CombineJob> {
 public:
  CombineJob(WorkerPool* pool, const grpc::ByteBuffer& request,
             MemoryBudget::Reservation reservation,
             std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done)
      : pool_(pool),
        request_(request),
        reader_(&request_),
        reservation_(std::move(reservation)),
        cancelled_(std::move(cancelled)),
        done_(std::move(done)) {}

  /// Merges up to `most` summaries, then continues in the pool, or ends.
  void Run(int most) {
    try {
      if (*cancelled_) return End(absl::CancelledError("the call was cancelled"));
      const auto at_end = MergePiece(most);
      if (!at_end.ok()) return End(at_end.status());
      if (*at_end) return End(absl::OkStatus());
      pool_->Submit(queue_,
                    [self = shared_from_this()](Scratch* /*scratch*/) { self->Run(kPiece); });
    } catch (const std::bad_alloc&) {
      End(OutOfMemory());
    }
  }

 private:
  /// Returns whether it has reached the end of the request.
  absl::StatusOr<bool> MergePiece(int most) {
    if (!reader_.status().ok()) return Malformed();
    // Its destructor gives unconsumed bytes back to reader_.
    CodedInputStream input(&reader_);
    for (int i = 0; i < most; ++i) {
      constexpr uint32_t kTag =
          MakeTag(v1::CombineRequest::kSummariesFieldNumber, WireType::kDelimited);
      const uint32_t tag = input.ReadTag();
      if (tag == 0) {
        if (!input.ConsumedEntireMessage()) return Malformed();
        return true;
      }
      if (tag != kTag) return WhyNoSummary(tag);
      LOSSD_RETURN_IF_ERROR(MergeNext(&input));
    }
    return false;
  }

  /// The error of a request that has a field with this tag.
  absl::Status WhyNoSummary(uint32_t tag) const {
    // The whole request tells more than its first bytes: garbage ends too early.
    grpc::ByteBuffer request = request_;
    grpc::ProtoBufferReader reader(&request);
    const auto checked = CheckWire(&reader, *v1::CombineRequest::descriptor(), "");
    if (!checked.ok()) return checked.status();
    return UnknownField("", *v1::CombineRequest::descriptor(), TagNumber(tag));
  }

  absl::Status MergeNext(CodedInputStream* input) {
    const std::string field = absl::StrCat("summaries[", fold_.count(), "]");
    uint32_t size = 0;
    if (!input->ReadVarint32(&size)) return Malformed();
    if (size > kMostSummaryBytes) {
      return InvalidField(field, "LENGTH_EXCEEDED", "expected at most ", kMostSummaryBytes,
                          " bytes, got ", size);
    }
    if (!input->ReadString(&encoded_, static_cast<int>(size))) return Malformed();
    LOSSD_RETURN_IF_ERROR(ParseMessage(encoded_, field, &message_));
    const auto summary = ParseSummary(message_, field);
    if (!summary.ok()) return summary.status();
    return fold_.Add(*summary);
  }

  void End(absl::Status status) {
    std::vector<grpc::Slice> response;
    try {
      if (status.ok()) {
        const auto combined = fold_.Finish();
        status = combined.status();
        if (status.ok()) response.push_back(SerializeMessage(ResponseOf(*combined)));
      }
    } catch (const std::bad_alloc&) {
      status = OutOfMemory();
    }
    reservation_ = MemoryBudget::Reservation();
    std::exchange(done_, nullptr)(std::move(status), std::move(response));
  }

  WorkerPool* const pool_;
  const std::shared_ptr<WorkerPool::Queue> queue_ = WorkerPool::NewQueue();
  grpc::ByteBuffer request_;
  grpc::ProtoBufferReader reader_;
  MemoryBudget::Reservation reservation_;
  const std::shared_ptr<const std::atomic<bool>> cancelled_;
  EvaluationDone done_;
  SummaryFold fold_;
  std::string encoded_;
  v1::Summary message_;
};

}  // namespace

void CombineAsync(const EvaluationContext& context, const grpc::ByteBuffer& request,
                  MemoryBudget::Reservation reservation,
                  std::shared_ptr<const std::atomic<bool>> cancelled, EvaluationDone done) {
  std::make_shared<CombineJob>(context.pool, request, std::move(reservation), std::move(cancelled),
                               std::move(done))
      ->Run(kFew);
}

}  // namespace lossd
