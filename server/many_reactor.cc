#include "server/many_reactor.h"

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/problem/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/wire_write.h"
#include "server/call_reactor.h"
#include "server/engine/memory_budget.h"
#include "server/message_io.h"
#include "server/request_evaluation.h"
#include "server/request_reader.h"
#include "server/rpc/call.h"
#include "server/rpc/reactor.h"

namespace lossd {
namespace {

/// Maximum number of requests read but not yet answered; reading waits while it is reached.
constexpr int kMaxOutstanding = 256;

/// A v1.EvaluateManyResponse around an encoded v1.EvaluateResponse.
grpc::ByteBuffer Encode(uint64_t id, std::vector<grpc::Slice> response) {
  v1::EvaluateManyResponse outer;
  outer.set_id(id);
  size_t size = 0;
  for (const grpc::Slice& slice : response) size += slice.size();
  std::string prefix = outer.SerializeAsString();
  prefix += FieldPrefix(v1::EvaluateManyResponse::kResponseFieldNumber, size);
  response.insert(response.begin(), grpc::Slice(prefix));
  return {response.data(), response.size()};
}

grpc::ByteBuffer EncodeError(uint64_t id, const absl::Status& error) {
  v1::EvaluateManyResponse message;
  message.set_id(id);
  *message.mutable_error() = ToProto(error);
  const grpc::Slice slice = SerializeMessage(message);
  return {&slice, 1};
}

class ManyReactor final : public CallReactor {
 public:
  ManyReactor(const EvaluationContext& context, Call* call) : CallReactor(context, call) {}

 private:
  void Received(std::unique_lock<std::mutex>* lock) override {
    ++outstanding_;
    grpc::ByteBuffer message;
    message.Swap(incoming());
    lock->unlock();
    absl::Status malformed = Evaluate(message);
    lock->lock();
    if (malformed.ok()) return;
    // Requests before the malformed message are answered first.
    --outstanding_;
    status_ = std::move(malformed);
    half_closed_ = true;
  }

  void HalfClosed() override { half_closed_ = true; }

  void Written() override {
    outbox_.pop_front();
    --outstanding_;
  }

  void Advance() override {
    if (!writing() && !outbox_.empty()) Write(outbox_.front());
    if (!reading() && !half_closed_ && outstanding_ < kMaxOutstanding) Read();
    if (half_closed_ && outstanding_ == 0) End(status_);
  }

  void Stop() override { *cancelled_ = true; }

  void Release() override { outbox_.clear(); }

  [[nodiscard]] absl::Status FirstMissing() const override {
    return FieldError(absl::StatusCode::kDeadlineExceeded, "", "HEADER_WAIT",
                      absl::StrCat("expected a request within ",
                                   absl::FormatDuration(absl::FromChrono(context_.header_wait))));
  }

  /// An error if the message is malformed.
  absl::Status Evaluate(const grpc::ByteBuffer& message) {
    // A refused request still gets a reply: its bytes are here already.
    auto reservation = context_.budget->Reserve(message.Length());
    if (!reservation.ok()) {
      Send(FindVarint(message, v1::EvaluateManyRequest::kIdFieldNumber), reservation.status(), {});
      return absl::OkStatus();
    }
    auto many = ReadManyRequest(message, context_.plan_limits, context_.forms, &*reservation);
    if (!many.ok()) return many.status();
    const uint64_t id = many->id;
    if (!many->request.ok()) {
      Send(id, many->request.status(), {});
    } else {
      EvaluateRequestAsync(context_, *std::move(many->request), *std::move(reservation), cancelled_,
                           [self = shared_from_this(), id](const absl::Status& status,
                                                           std::vector<grpc::Slice> response) {
                             static_cast<ManyReactor*>(self.get())
                                 ->Send(id,
                                        status.ok() ? status : WithFieldPrefix(status, "request."),
                                        std::move(response));
                           });
    }
    return absl::OkStatus();
  }

  void Send(uint64_t id, const absl::Status& status, std::vector<grpc::Slice> response) {
    React([&](auto* lock) {
      grpc::ByteBuffer bytes =
          status.ok() ? Encode(id, std::move(response)) : EncodeError(id, status);
      lock->lock();
      // A reply after the end would be held for as long as the reactor.
      if (!ended()) outbox_.push_back(std::move(bytes));
    });
  }

  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  std::deque<grpc::ByteBuffer> outbox_;  // gRPC may be sending the front one.
  absl::Status status_;
  int outstanding_ = 0;
  bool half_closed_ = false;
};

}  // namespace

std::shared_ptr<Reactor> NewManyReactor(const EvaluationContext& context, Call* call) {
  return std::make_shared<ManyReactor>(context, call);
}

}  // namespace lossd
