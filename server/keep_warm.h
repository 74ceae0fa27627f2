// Keeps gRPC's threads from falling asleep.
#ifndef LOSSD_SERVER_KEEP_WARM_H_
#define LOSSD_SERVER_KEEP_WARM_H_

#include <grpcpp/server.h>
#include <grpcpp/version_info.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace lossd {

/// Calls the server from within the process a few times a second. After an idle second the callback
/// threads of gRPC 1.51 sleep 100 ms at a time, and the next call would wait 20 to 60 ms for them.
class KeepWarm {
 public:
  /// Whether this gRPC needs it: 1.51 is what was measured, and later ones poll otherwise.
  static constexpr bool kNeeded = GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR <= 51;

  /// `server` must live until this is destroyed, and be shut down only then.
  explicit KeepWarm(grpc::Server* server);
  ~KeepWarm();
  KeepWarm(const KeepWarm&) = delete;
  KeepWarm& operator=(const KeepWarm&) = delete;

 private:
  void Work(const std::shared_ptr<grpc::Channel>& channel);

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_KEEP_WARM_H_
