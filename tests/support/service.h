// A server in the test's process on a free port, and raw calls to it.
#ifndef LOSSD_TESTS_SUPPORT_SERVICE_H_
#define LOSSD_TESTS_SUPPORT_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/v1/service.grpc.pb.h"
#include "server/server.h"
#include "tests/support/problem.h"
#include "tests/support/wire.h"

namespace lossd::testing {

/// Listens on a free TCP port and on a Unix socket.
class TestServer {
 public:
  explicit TestServer(ServerOptions options = {});
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  [[nodiscard]] const std::string& tcp() const { return server_->addresses()[0]; }
  [[nodiscard]] const std::string& unix_address() const { return server_->addresses()[1]; }
  v1::LossService::Stub& stub() { return *stub_; }
  [[nodiscard]] const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  Server& server() { return *server_; }
  /// Waits up to five seconds until no call holds memory. Returns whether that is so.
  bool MemoryIsBack();

 private:
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::LossService::Stub> stub_;
};

/// Sets a deadline of 60 seconds, so that a hang is a failure.
void SetDeadline(grpc::ClientContext* context);

Results FromResponse(const v1::EvaluateResponse& response);

absl::StatusOr<Results> CallUnary(v1::LossService::Stub* stub, const OwnedProblem& problem);
/// Sends all problems, pipelined, through one stream of EvaluateMany. Returns the results in the
/// order of the problems.
std::vector<absl::StatusOr<Results>> CallMany(v1::LossService::Stub* stub,
                                              const std::vector<const OwnedProblem*>& problems);
/// Sends messages of `chunk` bytes of one tensor each. The weight is in the header, or in the first
/// messages if `weight_follows`.
absl::StatusOr<Results> CallStream(v1::LossService::Stub* stub, const OwnedProblem& problem,
                                   size_t chunk, bool weight_follows = false);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_SERVICE_H_
