// How the client's calls reach the wire: channels, contexts, messages. For this library and
// lossctl.
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

/// A channel with a connection of its own. Errors are those of Client::Connect.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ClientOptions& options);

/// When a call that begins now must have ended.
absl::Time DeadlineOf(const ClientOptions& options);
/// Deadline and token.
void PrepareContext(const ClientOptions& options, absl::Time deadline,
                    grpc::ClientContext* context);

/// The options and the weight.
void SetCriterion(const LossRequest& request, v1::Criterion* criterion);
/// The request as one message; tensors are copied.
void ToWire(const LossRequest& request, v1::EvaluateRequest* wire);
/// The request as a stream's header: all but the tensors' bytes, those of a weight apart that does
/// not follow in the stream.
void ToWire(const LossRequest& request, bool weight_follows, v1::EvaluateStreamHeader* wire);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_WIRE_H_
