// Every conformance vector through the C++ client, by message and by stream, and through a stub of
// EvaluateMany. Prints a line for each: its name, the way, and the bytes of its results in hex.
//   cpp_conformance ADDRESS
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "client/cpp/lossd/client.h"
#include "lossd/v1/service.grpc.pb.h"
#include "tests/support/client.h"
#include "tests/support/problem.h"
#include "tests/support/service.h"
#include "tests/support/vectors.h"

namespace lossd::testing {
namespace {

/// Chunks of the streams: cuts fall anywhere.
constexpr size_t kChunk = 24;

absl::StatusOr<Results> Call(Client* client, const OwnedProblem& problem, Transport transport) {
  LossRequest request = RequestOf(problem);
  request.transport = transport;
  request.chunk_bytes = kChunk;
  const auto result = client->Evaluate(request);
  if (!result.ok()) return result.status();
  return ResultsOf(*result);
}

/// False where the results are not those of the vector.
bool Print(const Vector& vector, const char* way, const absl::StatusOr<Results>& results) {
  const std::string wrong =
      results.ok() ? Check(vector, *results) : std::string(results.status().message());
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s %s: %s\n", vector.name.c_str(), way, wrong.c_str());
    return false;
  }
  std::string hex;
  for (const Bytes* part :
       {&results->loss, &results->grad_input, &results->grad_target, &results->grad_weight}) {
    hex += absl::BytesToHexString(
        {reinterpret_cast<const char*>(part->data()), part->size()});  // NOLINT(*-cast)
  }
  std::printf("%s %s %s\n", vector.name.c_str(), way, hex.c_str());
  return true;
}

int Main(const std::string& address) {
  const auto client = Client::Connect(address);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", std::string(client.status().message()).c_str());
    return 1;
  }
  const auto stub =
      v1::LossService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  std::vector<const OwnedProblem*> problems;
  for (const Vector& vector : AllVectors()) problems.push_back(&vector.problem);
  const auto many = CallMany(stub.get(), problems);
  bool all = true;
  for (size_t i = 0; i < problems.size(); ++i) {
    const Vector& vector = AllVectors()[i];
    all &= Print(vector, "unary", Call(client->get(), vector.problem, Transport::kUnary));
    all &= Print(vector, "stream", Call(client->get(), vector.problem, Transport::kStream));
    all &= Print(vector, "many", many[i]);
  }
  return all ? 0 : 1;
}

}  // namespace
}  // namespace lossd::testing

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: cpp_conformance ADDRESS\n");
    return 2;
  }
  return lossd::testing::Main(argv[1]);
}
