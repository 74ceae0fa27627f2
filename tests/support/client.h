// Problems as the C++ client takes them, and servers that it is tried on.
#ifndef LOSSD_TESTS_SUPPORT_CLIENT_H_
#define LOSSD_TESTS_SUPPORT_CLIENT_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "client/cpp/lossd/client.h"
#include "lossd/v1/service.grpc.pb.h"
#include "tests/support/problem.h"

namespace lossd::testing {

/// Refers to the problem's bytes.
LossRequest RequestOf(const OwnedProblem& problem);

Bytes BytesOf(const Tensor& tensor);
Results ResultsOf(const LossResult& result);

/// 700 rows of 300 classes with one label, the gradient wanted: several chunks and tasks.
OwnedProblem ManyRows();

/// Serves a service of the test's own on a free port.
std::unique_ptr<grpc::Server> Serve(v1::LossService::Service* service, std::string* address);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_CLIENT_H_
