// A project that calls a server, whose address is its argument. The code has a warning that would
// be an error if lossd's own compile options reached it.
#include <lossd/client.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#if defined(GOOGLE_PROTOBUF_VERSION) || defined(GRPCPP_CHANNEL_H) || defined(GRPC_GRPC_H)
#error "lossd/client.h brings Protobuf or gRPC with it"
#endif

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto client = lossd::Client::Connect(argv[1]);
  if (!client.ok()) return 1;
  const std::vector<double> logits = {0, 0, std::log(3), 0};
  const std::vector<int64_t> labels = {0, 0};
  lossd::LossRequest request;
  request.input = lossd::View(absl::MakeConstSpan(logits), {2, 2});
  request.target = lossd::View(absl::MakeConstSpan(labels), {2});
  const auto result = (*client)->Evaluate(request);
  if (!result.ok()) {
    std::printf("%s\n", result.status().ToString().c_str());
    return 1;
  }
  const double loss = result->loss.As<double>()[0];
  const float narrow = loss;  // -Wconversion
  std::printf("loss %.7g\n", narrow);
  return std::abs(loss - (std::log(2) + std::log(4.0 / 3)) / 2) < 1e-15 ? 0 : 1;
}
