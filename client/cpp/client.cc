#include "client/cpp/lossd/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/stream_call.h"
#include "core/error.h"
#include "core/plan.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {

Tensor::Tensor(TensorSpec spec) : spec_(std::move(spec)) {
  const auto elements = CheckedElements(spec_, "tensor");
  buffer_ = Buffer(elements.ok() ? static_cast<size_t>(*elements) * SizeOf(spec_.dtype) : 0);
}

namespace {

/// Messages stay below what every server accepts; more goes by stream.
constexpr uint64_t kUnaryBytes = uint64_t{1} << 20U;

/// Calls without effect are tried again where the server could not be reached. Streams are not: the
/// library would have to keep what was sent.
constexpr char kServiceConfig[] = R"({"methodConfig": [{
  "name": [{"service": "lossd.v1.LossService", "method": "Evaluate"},
           {"service": "lossd.v1.LossService", "method": "Combine"},
           {"service": "lossd.v1.LossService", "method": "GetServerInfo"}],
  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                  "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

void SetTensor(const TensorView& view, v1::Tensor* tensor) {
  FillTensor(view.spec,
             {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()},  // NOLINT
             /*typed=*/false, tensor);
}

/// Checks the request as the server will, so that a mistake costs no transfer and results can be
/// allocated before they come.
absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const CrossEntropyRequest& request) {
  Problem problem{request.options,     request.outputs, request.input.spec,
                  request.target.spec, std::nullopt,    request.weight};
  if (request.grad_output) problem.grad_output = request.grad_output->spec;
  auto plan = Plan::Create(problem);
  if (!plan.ok()) return plan.status();
  LOSSD_RETURN_IF_ERROR(CheckBytes(request.input, "input"));
  LOSSD_RETURN_IF_ERROR(CheckBytes(request.target, "target"));
  if (request.grad_output) LOSSD_RETURN_IF_ERROR(CheckBytes(*request.grad_output, "grad_output"));
  return plan;
}

CrossEntropyResult MakeResult(const Plan& plan) {
  CrossEntropyResult result;
  const Outputs& wanted = plan.outputs();
  if (wanted.loss) result.loss = Tensor({plan.loss_dtype(), plan.LossShape()});
  if (wanted.log_sum_exp) result.log_sum_exp = Tensor({plan.loss_dtype(), plan.PositionShape()});
  if (wanted.grad_input) result.grad_input = Tensor(plan.input());
  if (wanted.grad_target) result.grad_target = Tensor(plan.target());
  if (wanted.grad_weight) result.grad_weight = Tensor({plan.WeightDType(), {plan.classes()}});
  return result;
}

absl::Status CopyOut(const v1::Tensor& from, absl::string_view name, const Tensor& to) {
  if (from.raw().size() != to.bytes().size()) {
    return absl::DataLossError(absl::StrCat("the server's reply has ", from.raw().size(),
                                            " bytes of ", name, ", expected ", to.bytes().size()));
  }
  if (!from.raw().empty()) std::memcpy(to.bytes().data(), from.raw().data(), from.raw().size());
  return absl::OkStatus();
}

void FillRequest(const CrossEntropyRequest& request, v1::EvaluateRequest* wire) {
  ToWire(request.options, wire->mutable_criterion());
  if (request.weight) {
    SetTensor(*request.weight,
              wire->mutable_criterion()->mutable_cross_entropy()->mutable_weight());
  }
  ToWire(request.outputs, wire->mutable_outputs());
  SetTensor(request.input, wire->mutable_input());
  SetTensor(request.target, wire->mutable_target());
  if (request.grad_output) SetTensor(*request.grad_output, wire->mutable_grad_output());
}

class GrpcClient final : public Client {
 public:
  GrpcClient(const std::shared_ptr<grpc::Channel>& channel, ClientOptions options)
      : options_(std::move(options)),
        channel_(channel),
        stub_(v1::LossService::NewStub(channel)),
        health_(grpc::health::v1::Health::NewStub(channel)) {}

  absl::StatusOr<CrossEntropyResult> CrossEntropy(const CrossEntropyRequest& request) override {
    auto plan = MakePlan(request);
    if (!plan.ok()) return plan.status();
    CrossEntropyResult result = MakeResult(**plan);
    grpc::ClientContext context;
    Prepare(&context);
    const absl::Status status = UseStream(request)
                                    ? RunStreamCall(request, **plan, channel_, &context, &result)
                                    : RunUnaryCall(request, &context, &result);
    if (!status.ok()) return status;
    return result;
  }

  absl::Status CrossEntropyMany(
      const CrossEntropyRequest& request, int outstanding, const std::function<bool()>& more,
      const std::function<void(std::chrono::steady_clock::time_point)>& answered) override {
    auto plan = MakePlan(request);
    if (!plan.ok()) return plan.status();
    grpc::ClientContext context;
    Prepare(&context);
    const auto stream = stub_->EvaluateMany(&context);
    // Requests are numbered; the last `outstanding` of their times are kept.
    const auto window = static_cast<uint64_t>(std::max(1, outstanding));
    std::vector<std::chrono::steady_clock::time_point> begins(window);
    std::mutex mutex;
    std::condition_variable room;
    uint64_t written = 0;
    uint64_t read = 0;
    bool broken = false;
    std::thread writer([&] {
      v1::EvaluateManyRequest message;
      FillRequest(request, message.mutable_request());
      while (more()) {
        std::unique_lock<std::mutex> lock(mutex);
        room.wait(lock, [&] { return broken || written - read < window; });
        if (broken) break;
        // A time is kept by its number within the window; an answer that a whole window of others
        // overtook would be measured from a later one.
        message.set_id(written);
        begins[written % window] = std::chrono::steady_clock::now();
        ++written;
        lock.unlock();
        if (!stream->Write(message)) break;
      }
      stream->WritesDone();
    });
    absl::Status status;
    v1::EvaluateManyResponse reply;
    while (stream->Read(&reply)) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (reply.has_error() && status.ok()) {
        status = absl::Status(static_cast<absl::StatusCode>(reply.error().code()),
                              reply.error().message());
        broken = true;
      }
      answered(begins[reply.id() % window]);
      ++read;
      room.notify_one();
    }
    {
      const std::lock_guard<std::mutex> lock(mutex);
      broken = true;
    }
    room.notify_one();
    writer.join();
    const absl::Status finished = FromGrpc(stream->Finish());
    return status.ok() ? finished : status;
  }

  absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries) override {
    v1::CombineRequest request;
    for (const Summary& summary : summaries) ToWire(summary, request.add_summaries());
    v1::CombineResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    LOSSD_RETURN_IF_ERROR(FromGrpc(stub_->Combine(&context, request, &response)));
    return ParseSummary(response.summary(), "summary");
  }

  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo() override {
    v1::GetServerInfoResponse response;
    grpc::ClientContext context;
    Prepare(&context);
    LOSSD_RETURN_IF_ERROR(FromGrpc(stub_->GetServerInfo(&context, {}, &response)));
    return response;
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
    if (options_.timeout != absl::InfiniteDuration()) {
      context->set_deadline(absl::ToChronoTime(absl::Now() + options_.timeout));
    }
    if (!options_.token.empty()) {
      context->AddMetadata("authorization", absl::StrCat("Bearer ", options_.token));
    }
  }

  static bool UseStream(const CrossEntropyRequest& request) {
    if (request.transport != Transport::kAuto) return request.transport == Transport::kStream;
    uint64_t bytes = request.input.bytes.size() + request.target.bytes.size();
    if (request.weight) bytes += request.weight->bytes.size();
    if (request.grad_output) bytes += request.grad_output->bytes.size();
    return bytes > kUnaryBytes;
  }

  absl::Status RunUnaryCall(const CrossEntropyRequest& request, grpc::ClientContext* context,
                            CrossEntropyResult* result) {
    v1::EvaluateRequest wire;
    FillRequest(request, &wire);
    v1::EvaluateResponse response;
    LOSSD_RETURN_IF_ERROR(FromGrpc(stub_->Evaluate(context, wire, &response)));
    LOSSD_RETURN_IF_ERROR(CopyOut(response.loss(), "loss", result->loss));
    LOSSD_RETURN_IF_ERROR(CopyOut(response.log_sum_exp(), "log_sum_exp", result->log_sum_exp));
    LOSSD_RETURN_IF_ERROR(CopyOut(response.grad_input(), "grad_input", result->grad_input));
    LOSSD_RETURN_IF_ERROR(CopyOut(response.grad_target(), "grad_target", result->grad_target));
    LOSSD_RETURN_IF_ERROR(CopyOut(response.grad_weight(), "grad_weight", result->grad_weight));
    auto summary = ParseSummary(response.summary(), "summary");
    if (!summary.ok()) return absl::DataLossError(summary.status().message());
    result->summary = *std::move(summary);
    return absl::OkStatus();
  }

  const ClientOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::LossService::Stub> stub_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& address,
                                                        const ClientOptions& options) {
  if (address.empty()) {
    return absl::InvalidArgumentError("expected HOST:PORT or unix:PATH, got \"\"");
  }
  const bool tls = !options.root_certificates.empty();
  if (!options.token.empty() && !tls && !absl::StartsWith(address, "unix:")) {
    return absl::InvalidArgumentError(
        "a token is sent over TLS or a Unix socket only: give root_certificates");
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetServiceConfigJSON(kServiceConfig);
  // As the server's: no probing of the bandwidth, and room for one chunk on its way.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // A client has a connection of its own, not one that all clients of the process share.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20);
  arguments.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, 4 << 20);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls) credentials = grpc::SslCredentials({options.root_certificates, "", ""});
  return std::make_unique<GrpcClient>(grpc::CreateCustomChannel(address, credentials, arguments),
                                      options);
}

}  // namespace lossd
