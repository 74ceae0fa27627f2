// Server reflection: tools that know no lossd ask here for its services and their definitions.
#ifndef LOSSD_SERVER_REFLECTION_H_
#define LOSSD_SERVER_REFLECTION_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string>
#include <vector>

#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/engine/idle_watch.h"

namespace lossd {

/// On the callback API: gRPC's own is synchronous, and each of its streams holds a thread for as
/// long as its client likes.
class Reflection final : public grpc::reflection::v1alpha::ServerReflection::CallbackService {
 public:
  /// Full names of `services`, as they are listed. A stream that asks nothing, or does not read its
  /// answer, for `patience` ends with DEADLINE_EXCEEDED. `watch` must outlive the server.
  Reflection(std::vector<std::string> services, IdleWatch* watch,
             std::chrono::milliseconds patience);

  grpc::ServerBidiReactor<grpc::reflection::v1alpha::ServerReflectionRequest,
                          grpc::reflection::v1alpha::ServerReflectionResponse>*
  ServerReflectionInfo(grpc::CallbackServerContext* call) override;

 private:
  const std::vector<std::string> services_;
  IdleWatch* const watch_;
  const std::chrono::milliseconds patience_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_REFLECTION_H_
