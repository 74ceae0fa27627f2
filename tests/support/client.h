// Requests for the C++ client, and servers to test it on.
#ifndef LOSSD_TESTS_SUPPORT_CLIENT_H_
#define LOSSD_TESTS_SUPPORT_CLIENT_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "client/cpp/lossd/client.h"
#include "lossd/v1/service.grpc.pb.h"
#include "tests/support/problem.h"

namespace lossd::testing {

/// The request refers to the problem's bytes.
LossRequest RequestOf(const OwnedProblem& problem);

Bytes BytesOf(const Tensor& tensor);
Results ResultsOf(const LossResult& result);

/// 700 rows of 300 classes, all with the same label, and the gradient requested: enough for several
/// chunks and tasks.
OwnedProblem ManyRows();

/// Serves the test's own service on a free port.
std::unique_ptr<grpc::Server> Serve(v1::LossService::Service* service, std::string* address);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_CLIENT_H_
