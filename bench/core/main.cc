// core_bench: times core and the machine's memory on request, so that a driver can alternate
// between core_bench and its peers. Reads one command per line from stdin, writes one answer per
// line:
//   prepare DTYPE[/TARGET] N C [d1 ...]   -> ready; TARGET is smoothing or probabilities
//   run WHAT COUNT                        -> mean seconds of COUNT runs, each on the next copy
//   target                                -> the instruction set
//   quit
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

#include "bench/core/problem.h"
#include "core/fork_join_pool.h"
#include "core/rows/kernel.h"

namespace lossd::bench {
namespace {

std::optional<DType> ParseDType(const std::string& name) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    if (name == Name(dtype)) return dtype;
  }
  return std::nullopt;
}

std::optional<Target> ParseTarget(const std::string& name) {
  if (name.empty()) return Target::kIndex;
  if (name == "/smoothing") return Target::kSmoothing;
  if (name == "/probabilities") return Target::kProbabilities;
  return std::nullopt;
}

double Seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

/// The answer to a line; empty for quit.
std::string Answer(const std::string& line, std::unique_ptr<BenchProblem>* problem, Pool* pool) {
  std::istringstream words(line);
  std::string verb;
  std::string what;
  words >> verb >> what;
  if (verb == "prepare") {
    const size_t slash = std::min(what.find('/'), what.size());
    const auto dtype = ParseDType(what.substr(0, slash));
    const auto target = ParseTarget(what.substr(slash));
    Shape shape;
    for (int64_t extent = 0; words >> extent;) shape.push_back(extent);
    if (!dtype || !target || shape.size() < 2) {
      return "error: expected prepare DTYPE[/TARGET] N C [d1 ...]";
    }
    problem->reset();
    *problem = std::make_unique<BenchProblem>(*dtype, shape, *target);
    return "ready";
  }
  if (verb == "run") {
    int64_t count = 0;
    words >> count;
    if (*problem == nullptr || count < 1) return "error: expected run WHAT COUNT after prepare";
    const double begin = Seconds();
    for (int64_t i = 0; i < count; ++i) {
      if (!(*problem)->Run(what, pool))
        return "error: expected loss, gradient, read, memcpy or stream";
    }
    std::ostringstream answer;
    answer.precision(9);
    answer << (Seconds() - begin) / static_cast<double>(count);
    return answer.str();
  }
  if (verb == "target") return InstructionSet();
  return verb == "quit" ? "" : "error: expected prepare, run, target or quit";
}

}  // namespace
}  // namespace lossd::bench

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  if (threads < 1) {
    std::fprintf(stderr, "usage: core_bench THREADS\n");
    return 2;
  }
  lossd::ForkJoinPool pool(threads);
  std::unique_ptr<lossd::bench::BenchProblem> problem;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string answer = lossd::bench::Answer(line, &problem, &pool);
    if (answer.empty()) break;
    std::cout << answer << std::endl;
  }
  return 0;
}
