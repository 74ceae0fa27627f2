#include "client/cpp/lossd/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cpp/message_limit.h"
#include "client/cpp/request_plan.h"
#include "client/cpp/retry.h"
#include "client/cpp/stream_call.h"
#include "client/cpp/stream_messages.h"
#include "client/cpp/unary_call.h"
#include "client/cpp/wire.h"
#include "core/problem/error.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/summary_codec.h"

namespace lossd {

Tensor::Tensor(TensorSpec spec) { Reset(std::move(spec)); }

void Tensor::Reset(TensorSpec spec) {
  if (spec == spec_ && buffer_.size() != 0) return;
  spec_ = std::move(spec);
  const auto elements = CheckedElements(spec_, "tensor");
  const size_t size = elements.ok() ? static_cast<size_t>(*elements) * SizeOf(spec_.dtype) : 0;
  if (size != buffer_.size()) buffer_ = Buffer(size);
}

void Tensor::Clear() {
  spec_.shape.clear();
  buffer_ = Buffer();
}

namespace {

ServerInfo FromWire(const v1::GetServerInfoResponse& wire) {
  const v1::Limits& limits = wire.limits();
  return {.version = wire.version(),
          .instruction_set = wire.instruction_set(),
          .threads = wire.threads(),
          .shared_memory = wire.shared_memory(),
          .limits = {.max_message_bytes = limits.max_message_bytes(),
                     .max_rank = limits.max_rank(),
                     .max_classes = limits.max_classes(),
                     .max_positions = limits.max_positions(),
                     .max_label_bytes = limits.max_label_bytes(),
                     .max_stream_skew_bytes = limits.max_stream_skew_bytes(),
                     .stream_window_bytes = limits.stream_window_bytes(),
                     .max_memory_bytes = limits.max_memory_bytes()}};
}

/// Requests whose tensors have more bytes are sent as streams.
constexpr uint64_t kUnaryBytes = uint64_t{1} << 20U;
/// The rest of a message, shapes included, takes less.
constexpr uint64_t kAroundTensors = 4096;

/// Whether the request can be retried: `read_input` and `take_grad_input` are called once for each
/// byte, front to back.
bool Replayable(const LossRequest& request) {
  return !request.read_input && !request.take_grad_input;
}

class GrpcClient final : public Client {
 public:
  GrpcClient(const std::shared_ptr<grpc::Channel>& channel, ClientOptions options)
      : options_(std::move(options)),
        channel_(channel),
        stub_(v1::LossService::NewStub(channel)),
        health_(grpc::health::v1::Health::NewStub(channel)),
        limit_(stub_.get()),
        unary_(channel) {}

  absl::StatusOr<LossResult> Evaluate(const LossRequest& request) override {
    LossResult result;
    if (auto status = EvaluateInto(request, &result); !status.ok()) return status;
    return result;
  }

  absl::Status EvaluateInto(const LossRequest& request, LossResult* result) override {
    if (request.chunk_bytes == 0) {
      return InvalidField("chunk_bytes", "VALUE_RANGE", "expected at least 1, got 0");
    }
    const absl::Time deadline = DeadlineOf(options_);
    const uint64_t believed = limit_.bytes();
    absl::Status status = Evaluate(request, deadline, result);
    if (!RefusedByTransport(status) || !Replayable(request)) return status;
    // Retry with smaller messages if the server's limit is lower than assumed.
    AskForLimit(deadline);
    return limit_.bytes() < believed ? Evaluate(request, deadline, result) : status;
  }

  absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries) override {
    v1::CombineRequest request;
    for (const Summary& summary : summaries) ToWire(summary, request.add_summaries());
    v1::CombineResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    LOSSD_RETURN_IF_ERROR(FromGrpc(stub_->Combine(&context, request, &response)));
    return DecodeSummary(response.summary(), "summary");
  }

  absl::StatusOr<ServerInfo> GetServerInfo() override {
    v1::GetServerInfoResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    LOSSD_RETURN_IF_ERROR(FromGrpc(stub_->GetServerInfo(&context, {}, &response)));
    limit_.Learn(response);
    return FromWire(response);
  }

  absl::Status CheckHealth(const std::string& service) override {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    LOSSD_RETURN_IF_ERROR(FromGrpc(health_->Check(&context, request, &response)));
    if (response.status() == grpc::health::v1::HealthCheckResponse::SERVING) {
      return absl::OkStatus();
    }
    return absl::UnavailableError(
        absl::StrCat("the server says ",
                     grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status())));
  }

 private:
  void Prepare(grpc::ClientContext* context) const {
    PrepareContext(options_, DeadlineOf(options_), context);
  }

  void AskForLimit(absl::Time deadline) {
    grpc::ClientContext context;
    PrepareContext(options_, deadline, &context);
    limit_.Ask(&context);
  }

  absl::Status Evaluate(const LossRequest& request, absl::Time deadline, LossResult* result) {
    if (UseStream(request)) return Stream(request, deadline, result);
    grpc::ClientContext context;
    PrepareContext(options_, deadline, &context);
    return unary_.Run(request, &context, result);
  }

  absl::Status Stream(const LossRequest& request, absl::Time deadline, LossResult* result) {
    // A stream that cannot be retried must not fail because of the size of its messages.
    const bool large = request.chunk_bytes > MessageLimit::kUsual - kMessageFraming;
    if (!limit_.known() && (large || !Replayable(request))) {
      // Do not ask the server on behalf of an invalid request.
      if (const auto plan = MakePlan(request, request.weight.has_value()); !plan.ok()) {
        return plan.status();
      }
      AskForLimit(deadline);
    }
    const size_t message_bytes = static_cast<size_t>(
        std::min<uint64_t>(request.chunk_bytes, limit_.bytes() - kMessageFraming));
    auto plan = MakePlan(request, WeightFollows(request, message_bytes));
    if (!plan.ok()) return plan.status();
    PrepareResult(request, **plan, result);
    const auto attempt = [&] {
      auto context = std::make_unique<grpc::ClientContext>();
      PrepareContext(options_, deadline, context.get());
      return RunStreamCall(request, **plan, message_bytes, channel_, std::move(context), result);
    };
    return Replayable(request) ? CallWithRetries(deadline, attempt) : attempt();
  }

  [[nodiscard]] bool UseStream(const LossRequest& request) const {
    if (!Replayable(request)) return true;
    if (request.transport != Transport::kAuto) return request.transport == Transport::kStream;
    uint64_t bytes = request.input.bytes.size() + request.target.bytes.size();
    if (request.weight) bytes += request.weight->bytes.size();
    if (request.grad_output) bytes += request.grad_output->bytes.size();
    return bytes > kUnaryBytes || bytes + kAroundTensors > limit_.bytes();
  }

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::LossService::Stub> stub_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  MessageLimit limit_;
  UnaryCalls unary_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address,
                                                        const ClientOptions& options) {
  auto channel = MakeChannel(address, options);
  if (!channel.ok()) return channel.status();
  return std::make_unique<GrpcClient>(*channel, options);
}

}  // namespace lossd
