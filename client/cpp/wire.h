// Channels, contexts and messages of the client's calls, for this library and lossctl.
#ifndef LOSSD_CLIENT_CPP_WIRE_H_
#define LOSSD_CLIENT_CPP_WIRE_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/lossd/client.h"
#include "lossd/v1/service.pb.h"

namespace lossd {

/// A channel with its own connection. Errors are those of Client::Connect.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ClientOptions& options);

/// The deadline of a call that begins now.
absl::Time DeadlineOf(const ClientOptions& options);
/// Sets the deadline and the token.
void PrepareContext(const ClientOptions& options, absl::Time deadline,
                    grpc::ClientContext* context);

/// Fills in the options and the weight.
void SetCriterion(const LossRequest& request, v1::Criterion* criterion);
/// The request as one message; tensors are copied.
void ToWire(const LossRequest& request, v1::EvaluateRequest* wire);
/// The request as a stream's header, without the bytes of tensors. The header includes the weight's
/// bytes unless `weight_follows`.
void ToWire(const LossRequest& request, bool weight_follows, v1::EvaluateStreamHeader* wire);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_WIRE_H_
