#include "client/cpp/lossd/client.h"

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/stream_call.h"
#include "client/cpp/wire.h"
#include "core/error.h"
#include "core/plan.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "lossd/v1/service.grpc.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {

Tensor::Tensor(TensorSpec spec) { Reset(std::move(spec)); }

void Tensor::Reset(TensorSpec spec) {
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

/// Messages stay below what every server accepts; more goes by stream.
constexpr uint64_t kUnaryBytes = uint64_t{1} << 20U;

/// Checks the request as the server will, so that a mistake costs no transfer and results can be
/// allocated before they come.
absl::StatusOr<std::shared_ptr<const Plan>> MakePlan(const CrossEntropyRequest& request) {
  Problem problem{request.options,     request.outputs, request.input.spec,
                  request.target.spec, std::nullopt,    request.weight};
  if (request.grad_output) problem.grad_output = request.grad_output->spec;
  auto plan = Plan::Create(problem);
  if (!plan.ok()) return plan.status();
  if (!request.read_input) LOSSD_RETURN_IF_ERROR(CheckBytes(request.input, "input"));
  LOSSD_RETURN_IF_ERROR(CheckBytes(request.target, "target"));
  if (request.grad_output) LOSSD_RETURN_IF_ERROR(CheckBytes(*request.grad_output, "grad_output"));
  return plan;
}

/// Gives every output that is asked for its tensor, the others none.
void PrepareResult(const CrossEntropyRequest& request, const Plan& plan,
                   CrossEntropyResult* result) {
  const Outputs& wanted = plan.outputs();
  const auto prepare = [](bool want, TensorSpec spec, Tensor* tensor) {
    if (want) return tensor->Reset(std::move(spec));
    tensor->Clear();
  };
  prepare(wanted.loss, {plan.loss_dtype(), plan.LossShape()}, &result->loss);
  prepare(wanted.log_sum_exp, {plan.loss_dtype(), plan.PositionShape()}, &result->log_sum_exp);
  prepare(wanted.grad_input && !request.take_grad_input, plan.input(), &result->grad_input);
  prepare(wanted.grad_target, plan.target(), &result->grad_target);
  prepare(wanted.grad_weight, {plan.WeightDType(), {plan.classes()}}, &result->grad_weight);
}

absl::Status CopyOut(const v1::Tensor& from, absl::string_view name, const Tensor& to) {
  if (from.raw().size() != to.bytes().size()) {
    return absl::DataLossError(absl::StrCat("the server's reply has ", from.raw().size(),
                                            " bytes of ", name, ", expected ", to.bytes().size()));
  }
  if (!from.raw().empty()) std::memcpy(to.bytes().data(), from.raw().data(), from.raw().size());
  return absl::OkStatus();
}

class GrpcClient final : public Client {
 public:
  GrpcClient(const std::shared_ptr<grpc::Channel>& channel, ClientOptions options)
      : options_(std::move(options)),
        channel_(channel),
        stub_(v1::LossService::NewStub(channel)),
        health_(grpc::health::v1::Health::NewStub(channel)) {}

  absl::StatusOr<CrossEntropyResult> CrossEntropy(const CrossEntropyRequest& request) override {
    CrossEntropyResult result;
    if (auto status = CrossEntropyInto(request, &result); !status.ok()) return status;
    return result;
  }

  absl::Status CrossEntropyInto(const CrossEntropyRequest& request,
                                CrossEntropyResult* result) override {
    auto plan = MakePlan(request);
    if (!plan.ok()) return plan.status();
    PrepareResult(request, **plan, result);
    grpc::ClientContext context;
    Prepare(&context);
    return UseStream(request) ? RunStreamCall(request, **plan, channel_, &context, result)
                              : RunUnaryCall(request, &context, result);
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
  void Prepare(grpc::ClientContext* context) const { PrepareContext(options_, context); }

  static bool UseStream(const CrossEntropyRequest& request) {
    if (request.read_input || request.take_grad_input) return true;
    if (request.transport != Transport::kAuto) return request.transport == Transport::kStream;
    uint64_t bytes = request.input.bytes.size() + request.target.bytes.size();
    if (request.weight) bytes += request.weight->bytes.size();
    if (request.grad_output) bytes += request.grad_output->bytes.size();
    return bytes > kUnaryBytes;
  }

  absl::Status RunUnaryCall(const CrossEntropyRequest& request, grpc::ClientContext* context,
                            CrossEntropyResult* result) {
    v1::EvaluateRequest wire;
    ToWire(request, &wire);
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
  auto channel = MakeChannel(address, options);
  if (!channel.ok()) return channel.status();
  return std::make_unique<GrpcClient>(*channel, options);
}

}  // namespace lossd
