#include "tests/support/client.h"

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lossd/v1/service.grpc.pb.h"

namespace lossd::testing {

LossRequest RequestOf(const OwnedProblem& problem) {
  LossRequest request;
  request.input = problem.input.view();
  request.target = problem.target.view();
  if (problem.weight) request.weight = problem.weight->view();
  if (problem.grad_output) request.grad_output = problem.grad_output->view();
  request.criterion = problem.criterion;
  request.outputs = problem.outputs;
  return request;
}

Bytes BytesOf(const Tensor& tensor) { return {tensor.bytes().begin(), tensor.bytes().end()}; }

Results ResultsOf(const LossResult& result) {
  return {BytesOf(result.loss),        BytesOf(result.log_sum_exp), BytesOf(result.grad_input),
          BytesOf(result.grad_target), BytesOf(result.grad_weight), result.summary};
}

OwnedProblem ManyRows() {
  constexpr int64_t kRows = 700;
  constexpr int64_t kClasses = 300;
  std::vector<double> logits(static_cast<size_t>(kRows * kClasses));
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<double>(i * 37 % 101) / 9.0;
  OwnedProblem problem = MakeIndex(DType::kFloat32, {kRows, kClasses}, logits,
                                   std::vector<double>(static_cast<size_t>(kRows), 5.0));
  problem.outputs.grad_input = true;
  return problem;
}

std::unique_ptr<grpc::Server> Serve(v1::LossService::Service* service, std::string* address) {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(service);
  auto server = builder.BuildAndStart();
  *address = "127.0.0.1:" + std::to_string(port);
  return server;
}

}  // namespace lossd::testing
