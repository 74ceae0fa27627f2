#include "client/cpp/wire.h"

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/cpp/lossd/client.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/criterion_codec.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/tensor_codec.h"

namespace lossd {
namespace {

/// gRPC retries unary calls if the server is UNAVAILABLE, as often as CallWithRetries retries
/// streams. A retry loop of our own would take 2 to 4 % less of a small call's time, but without
/// gRPC's policy a call waits beyond its deadline for a stuck write.
constexpr char kServiceConfig[] = R"({"methodConfig": [{
  "name": [{"service": "lossd.v1.LossService", "method": "Evaluate"},
           {"service": "lossd.v1.LossService", "method": "Combine"},
           {"service": "lossd.v1.LossService", "method": "GetServerInfo"}],
  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                  "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

void SetTensor(const TensorView& view, v1::Tensor* tensor) {
  FillTensor(view.spec, view.bytes, /*typed=*/false, tensor);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
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
  // Keep up to this many sent bytes of a call for its retries; every message that kAuto does not
  // stream fits.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, 2 << 20);
  // Reconnect soon enough that a retry finds a server that has come back.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // As in the server: no bandwidth probing, and room for one chunk in flight.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Each client has its own connection, not one shared by all clients of the process.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20);
  arguments.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, 4 << 20);
  // Calls end if the server disappears without closing the connection.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (tls) credentials = grpc::SslCredentials({options.root_certificates, "", ""});
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

absl::Time DeadlineOf(const ClientOptions& options) {
  // Saves the call of Now() if there is no timeout.
  return options.timeout == absl::InfiniteDuration() ? absl::InfiniteFuture()
                                                     : absl::Now() + options.timeout;
}

void PrepareContext(const ClientOptions& options, absl::Time deadline,
                    grpc::ClientContext* context) {
  if (deadline != absl::InfiniteFuture()) context->set_deadline(absl::ToChronoTime(deadline));
  if (!options.token.empty()) {
    context->AddMetadata("authorization", absl::StrCat("Bearer ", options.token));
  }
}

void SetCriterion(const LossRequest& request, v1::Criterion* criterion) {
  ToWire(request.criterion, criterion);
  if (!request.weight) return;
  SetTensor(*request.weight, MutableWeight(criterion));
}

void ToWire(const LossRequest& request, v1::EvaluateRequest* wire) {
  SetCriterion(request, wire->mutable_criterion());
  ToWire(request.outputs, wire->mutable_outputs());
  SetTensor(request.input, wire->mutable_input());
  SetTensor(request.target, wire->mutable_target());
  if (request.grad_output) SetTensor(*request.grad_output, wire->mutable_grad_output());
}

void ToWire(const LossRequest& request, bool weight_follows, v1::EvaluateStreamHeader* wire) {
  if (weight_follows) {
    ToWire(request.criterion, wire->mutable_criterion());
    const TensorSpec& spec = request.weight->spec;
    v1::Tensor* weight = MutableWeight(wire->mutable_criterion());
    weight->set_dtype(ToWire(spec.dtype));
    weight->mutable_shape()->Assign(spec.shape.begin(), spec.shape.end());
  } else {
    SetCriterion(request, wire->mutable_criterion());
  }
  ToWire(request.outputs, wire->mutable_outputs());
  ToWire(request.input.spec, wire->mutable_input());
  ToWire(request.target.spec, wire->mutable_target());
  if (request.grad_output) ToWire(request.grad_output->spec, wire->mutable_grad_output());
}

}  // namespace lossd
