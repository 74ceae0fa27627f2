#include "server/health.h"

#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/call_reactor.h"
#include "server/message_io.h"
#include "server/unary_method.h"
#include "server/unary_reactor.h"

namespace lossd {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

grpc::Slice Encode(Health::Status status) {
  HealthCheckResponse response;
  response.set_status(status);
  return SerializeMessage(response);
}

}  // namespace

/// Sends the status of one service whenever it changes, until its client goes.
class Health::Watcher final : public CallReactor {
 public:
  Watcher(Health* health, Call* call) : CallReactor(health->context_, call), health_(*health) {}

  void Look() {
    React([](auto* lock) { lock->lock(); });
  }

 private:
  void Received(std::unique_lock<std::mutex>* lock) override {
    grpc::ByteBuffer message;
    message.Swap(incoming());
    lock->unlock();
    HealthCheckRequest request;
    absl::Status parsed = ReadMessage(message, &request);
    health_.Register(std::static_pointer_cast<Watcher>(shared_from_this()));
    lock->lock();
    if (!parsed.ok()) return EndEarly(std::move(parsed));
    service_ = request.service();
  }

  void HalfClosed() override {
    if (!service_) EndEarly(InvalidField("", "FIELD_MISSING", "expected a request message"));
  }

  // Nothing is read after the request: a broken call shows as a cancelled one.
  void Advance() override {
    if (!service_) {
      if (!reading()) Read();
      return;
    }
    const Status status = health_.Get(*service_);
    if (writing() || sent_ == status) return;
    sent_ = status;
    const grpc::Slice slice = Encode(status);
    Write(grpc::ByteBuffer(&slice, 1));
  }

  void Stop() override {}
  void Release() override {}

  [[nodiscard]] absl::Status FirstMissing() const override {
    return FieldError(absl::StatusCode::kDeadlineExceeded, "", "HEADER_WAIT",
                      "expected a request message");
  }

  Health& health_;
  std::optional<std::string> service_;
  std::optional<Status> sent_;
};

Health::Health(const EvaluationContext& context, const std::vector<std::string>& services)
    : context_(context) {
  // A drain does not wait for them, and a watch may be silent for ever.
  context_.calls = nullptr;
  context_.idle_stream = std::chrono::milliseconds::max();
  for (const std::string& service : services) {
    statuses_.emplace(service, HealthCheckResponse::NOT_SERVING);
  }
  statuses_.emplace("", HealthCheckResponse::NOT_SERVING);
}

void Health::AddTo(CallQueue* queue) {
  const std::string prefix = absl::StrCat("/", grpc::health::v1::Health::service_full_name(), "/");
  queue->Add(
      prefix + "Check", UnaryMethod(context_, [this](const std::shared_ptr<UnaryReactor>& call,
                                                     const grpc::ByteBuffer& message) {
        HealthCheckRequest request;
        if (const auto parsed = ReadMessage(message, &request); !parsed.ok()) {
          return call->Answer(parsed, {});
        }
        const Status status = Get(request.service());
        if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
          return call->Answer(absl::NotFoundError("service: there is none of that name"), {});
        }
        call->Answer(absl::OkStatus(), {Encode(status)});
      }));
  queue->Add(prefix + "Watch",
             [this](Call* call) { return std::make_shared<Watcher>(this, call); });
}

void Health::Register(const std::shared_ptr<Watcher>& watcher) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(watchers_, [](const auto& other) { return other.expired(); });
  watchers_.push_back(watcher);
}

void Health::Set(const std::string& service, Status status) {
  std::vector<std::weak_ptr<Watcher>> watchers;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    statuses_[service] = status;
    watchers = watchers_;
  }
  for (const auto& weak : watchers) {
    if (const auto watcher = weak.lock()) watcher->Look();
  }
}

Health::Status Health::Get(const std::string& service) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = statuses_.find(service);
  return found == statuses_.end() ? HealthCheckResponse::SERVICE_UNKNOWN : found->second;
}

}  // namespace lossd
