// `lossctl bench`: puts load on a server and measures it.
#ifndef LOSSD_CLIENT_LOSSCTL_BENCH_H_
#define LOSSD_CLIENT_LOSSCTL_BENCH_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/lossd/client.h"

namespace lossd {

struct BenchFlags {
  std::vector<int64_t> shape = {8, 10};
  std::string dtype = "float32";
  std::string transport = "auto";
  bool grad = false;
  bool json = false;
  bool keep_going = false;  ///< Count failed calls; otherwise the first one ends the benchmark.
  bool generate = false;    ///< Stream logits and gradients in blocks, without holding them.
  int concurrency = 1;
  int pipeline = 32;  ///< Requests outstanding on a stream of EvaluateMany.
  double duration_s = 5;
  double warmup_s = 0.5;
  double rate = 0;  ///< Calls per second of each connection; 0 is no limit.
};

void AddBenchFlags(CLI::App* app, BenchFlags* flags);

/// Makes calls with random logits over `concurrency` connections, for `duration_s` after the
/// warm-up. Returns calls, errors, bytes and latency percentiles as text.
absl::StatusOr<std::string> RunBench(const BenchFlags& flags, const std::string& server,
                                     const ClientOptions& options);

}  // namespace lossd

#endif  // LOSSD_CLIENT_LOSSCTL_BENCH_H_
