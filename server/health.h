// The standard health service, grpc.health.v1.
#ifndef LOSSD_SERVER_HEALTH_H_
#define LOSSD_SERVER_HEALTH_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grpc/health/v1/health.pb.h"
#include "server/request_evaluation.h"
#include "server/rpc/call_queue.h"

namespace lossd {

/// Check and Watch for the whole server, whose name is empty, and its services. Nothing is serving
/// at the beginning. Thread-safe.
class Health {
 public:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  static constexpr Status kServing = grpc::health::v1::HealthCheckResponse::SERVING;
  static constexpr Status kNotServing = grpc::health::v1::HealthCheckResponse::NOT_SERVING;

  /// What `context` points to must outlive the server.
  explicit Health(const EvaluationContext& context, const std::vector<std::string>& services);

  /// Adds its methods. It must outlive `queue`.
  void AddTo(CallQueue* queue);

  /// `service` must be one of the constructor's, or empty.
  void Set(const std::string& service, Status status);

 private:
  class Watcher;
  /// It is told of changes for as long as it lives.
  void Register(const std::shared_ptr<Watcher>& watcher);
  /// SERVICE_UNKNOWN for a name that it does not have.
  [[nodiscard]] Status Get(const std::string& service) const;

  EvaluationContext context_;
  mutable std::mutex mutex_;
  std::map<std::string, Status> statuses_;
  std::vector<std::weak_ptr<Watcher>> watchers_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_HEALTH_H_
