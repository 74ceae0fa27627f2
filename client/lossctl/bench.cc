#include "client/lossctl/bench.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/lossd/client.h"
#include "client/lossctl/pipeline.h"
#include "core/problem/error.h"
#include "core/problem/load.h"
#include "core/problem/tensor.h"

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

DType ParseDType(const std::string& name) {
  for (const DType dtype : {DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    if (name == Name(dtype)) return dtype;
  }
  return DType::kFloat32;
}

/// The one random problem that all calls send.
struct Load {
  explicit Load(const BenchFlags& flags) {
    Shape shape(flags.shape.begin(), flags.shape.end());
    Shape positions = shape;
    if (shape.size() > 1) {
      positions.erase(positions.begin() + 1);
    } else {
      positions.clear();
    }
    const auto product = [](const Shape& of) {
      return static_cast<size_t>(
          std::accumulate(of.begin(), of.end(), int64_t{1}, std::multiplies<>()));
    };
    const DType dtype = ParseDType(flags.dtype);
    input_bytes = product(shape) * SizeOf(dtype);
    const auto values = std::make_shared<Values>();
    data = values;
    values->input.resize(flags.generate ? std::min(input_bytes, kBlockBytes) : input_bytes);
    std::mt19937_64 random(1);
    std::normal_distribution<double> logits(0, 2);
    for (size_t i = 0; i < values->input.size(); i += SizeOf(dtype)) {
      StoreFromDouble(dtype, logits(random), values->input.data() + i);
    }
    values->labels.resize(product(positions));
    const auto classes = static_cast<uint64_t>(shape.size() > 1 ? shape[1] : shape[0]);
    for (int64_t& label : values->labels) {
      label = static_cast<int64_t>(random() % std::max<uint64_t>(1, classes));
    }
    request.input.spec = {dtype, shape};
    if (flags.generate) {
      request.read_input = [this](uint64_t offset, absl::Span<std::byte> to) { Fill(offset, to); };
      request.take_grad_input = [](absl::Span<const std::byte> /*bytes*/) {};
    } else {
      request.input.bytes = data->input;
    }
    request.target = View(absl::MakeConstSpan(data->labels), positions);
    request.owner = data;
    request.outputs.grad_input = flags.grad;
    if (flags.transport == "unary") request.transport = Transport::kUnary;
    if (flags.transport == "stream") request.transport = Transport::kStream;
  }

  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() = default;

  /// Generates the input by repeating its first block.
  void Fill(uint64_t offset, absl::Span<std::byte> to) const {
    while (!to.empty()) {
      const auto begin = static_cast<size_t>(offset % data->input.size());
      const size_t count = std::min(to.size(), data->input.size() - begin);
      std::memcpy(to.data(), data->input.data() + begin, count);
      to.remove_prefix(count);
      offset += count;
    }
  }

  static constexpr size_t kBlockBytes = size_t{8} << 20U;
  /// The memory of the request. gRPC also holds it while it sends it.
  struct Values {
    std::vector<std::byte> input;
    std::vector<int64_t> labels;
  };
  size_t input_bytes;
  std::shared_ptr<const Values> data;
  LossRequest request;
};

/// The results of all connections.
struct Shared {
  Clock::time_point measure_from;
  Clock::time_point end;
  std::atomic<bool> stop{false};
  std::mutex mutex;
  absl::Status status;            // The first error.
  std::vector<double> latencies;  // Seconds, of successful calls that began after the warm-up.
  std::vector<double> refusals;   // Likewise of failed calls, with keep_going.
  std::map<std::string, uint64_t> errors;  // Number of `refusals` by status code.

  void Fail(const absl::Status& error) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (status.ok()) status = error;
    stop = true;
  }
  void Keep(const std::vector<double>& some) {
    const std::lock_guard<std::mutex> lock(mutex);
    latencies.insert(latencies.end(), some.begin(), some.end());
  }
  void KeepRefusal(const absl::Status& error, double seconds) {
    const std::lock_guard<std::mutex> lock(mutex);
    refusals.push_back(seconds);
    ++errors[absl::StatusCodeToString(error.code())];
  }
};

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// One connection that makes one call after the other.
void Connection(const BenchFlags& flags, const std::string& server, const ClientOptions& options,
                const Load& load, Shared* shared) {
  auto client = Client::Connect(server, options);
  if (!client.ok()) return shared->Fail(client.status());
  std::vector<double> latencies;
  LossResult into;
  const auto period = std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(flags.rate > 0 ? 1.0 / flags.rate : 0.0));
  auto next = Clock::now();
  // Measure at least one call, however long the one before it takes.
  bool measured = false;
  while (!shared->stop && (!measured || Clock::now() < shared->end)) {
    if (flags.rate > 0) {
      std::this_thread::sleep_until(next);
      next += period;
    }
    const auto begin = Clock::now();
    const absl::Status result = (*client)->EvaluateInto(load.request, &into);
    if (!result.ok() && !flags.keep_going) {
      shared->Fail(result);
      break;
    }
    const double seconds = Since(begin);
    if (begin >= shared->measure_from) {
      measured = true;
      if (result.ok()) {
        latencies.push_back(seconds);
      } else {
        shared->KeepRefusal(result, seconds);
      }
    }
    // Wait as long as the server asks a refused client to.
    const double pause = result.ok() ? 0 : GetErrorDetail(result).retry_after_s;
    if (pause > 0) std::this_thread::sleep_for(std::chrono::duration<double>(pause));
  }
  shared->Keep(latencies);
}

/// One connection with an EvaluateMany stream that keeps `pipeline` requests outstanding.
void Pipelined(const BenchFlags& flags, const std::string& server, const ClientOptions& options,
               const Load& load, Shared* shared) {
  std::vector<double> latencies;
  const absl::Status status = RunPipeline(
      server, options, load.request, flags.pipeline,
      [&] { return !shared->stop && (latencies.empty() || Clock::now() < shared->end); },
      [&](Clock::time_point begin) {
        if (begin >= shared->measure_from) latencies.push_back(Since(begin));
      });
  if (!status.ok()) shared->Fail(status);
  shared->Keep(latencies);
}

double Percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  const auto index = static_cast<size_t>(share * static_cast<double>(sorted.size() - 1));
  return sorted[index];
}

Json Percentiles(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto micros = [&](double share) { return Percentile(seconds, share) * 1e6; };
  return {{"min", micros(0)},
          {"p50", micros(0.5)},
          {"p90", micros(0.9)},
          {"p99", micros(0.99)},
          {"max", micros(1)}};
}

Json Report(const BenchFlags& flags, const Load& load, const Shared& shared, double seconds) {
  const auto calls = static_cast<double>(shared.latencies.size());
  const auto sent =
      static_cast<double>(load.input_bytes + load.data->labels.size() * sizeof(int64_t));
  const double received = flags.grad ? static_cast<double>(load.input_bytes) : 4.0;
  Json report = {{"shape", flags.shape},
                 {"dtype", flags.dtype},
                 {"gradient", flags.grad},
                 {"transport", flags.transport},
                 {"concurrency", flags.concurrency},
                 {"seconds", seconds},
                 {"calls", shared.latencies.size()},
                 {"errors", shared.refusals.size()},
                 {"calls_per_second", calls / seconds},
                 {"sent_bytes_per_second", calls * sent / seconds},
                 {"received_bytes_per_second", calls * received / seconds},
                 {"latency_us", Percentiles(shared.latencies)}};
  if (!shared.errors.empty()) {
    report["errors_by_code"] = shared.errors;
    report["error_latency_us"] = Percentiles(shared.refusals);
  }
  return report;
}

std::string Show(const Json& report, bool as_json) {
  if (as_json) return report.dump() + "\n";
  std::string text;
  for (const auto& [key, value] : report.items()) {
    if (!value.is_object()) absl::StrAppend(&text, key, ": ", value.dump(), "\n");
  }
  for (const auto& [name, values] : report.items()) {
    if (!values.is_object()) continue;
    absl::StrAppend(&text, name, ":");
    for (const auto& [key, value] : values.items()) {
      absl::StrAppend(&text, " ", key, " ", std::llround(value.get<double>()));
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace

void AddBenchFlags(CLI::App* app, BenchFlags* flags) {
  app->add_option("--shape", flags->shape, "Shape of the logits, such as 8,10 or 2,19,512,1024")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32U))
      ->capture_default_str();
  app->add_option("--dtype", flags->dtype, "float32, float64, float16 or bfloat16")
      ->check(CLI::IsMember({"float32", "float64", "float16", "bfloat16"}))
      ->capture_default_str();
  app->add_flag("--grad", flags->grad, "Ask for the gradient too");
  app->add_option("--transport", flags->transport,
                  "auto, unary, stream, or many: pipelined over one open stream")
      ->check(CLI::IsMember({"auto", "unary", "stream", "many"}))
      ->capture_default_str();
  app->add_option("--concurrency", flags->concurrency, "Connections, each with one call at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app->add_option("--pipeline", flags->pipeline, "Requests outstanding, for --transport many")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app->add_option("--duration", flags->duration_s, "Seconds to measure")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  app->add_option("--warmup", flags->warmup_s, "Seconds before that are not counted")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app->add_option("--rate", flags->rate, "Calls a second of each connection; 0: as many as go")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app->add_flag("--keep-going", flags->keep_going,
                "Count calls that fail and go on, after the pause that the server asks for");
  app->add_flag("--generate", flags->generate,
                "Stream logits and gradients without holding them: for shapes beyond memory");
  app->add_flag("--json", flags->json, "Print one line of JSON");
}

absl::StatusOr<std::string> RunBench(const BenchFlags& flags, const std::string& server,
                                     const ClientOptions& options) {
  const Load load(flags);
  Shared shared;
  const auto seconds = [](double count) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count));
  };
  shared.measure_from = Clock::now() + seconds(flags.warmup_s);
  shared.end = shared.measure_from + seconds(flags.duration_s);
  std::vector<std::thread> connections;
  connections.reserve(static_cast<size_t>(flags.concurrency));
  for (int i = 0; i < flags.concurrency; ++i) {
    connections.emplace_back([&] {
      const auto run = flags.transport == "many" ? Pipelined : Connection;
      run(flags, server, options, load, &shared);
    });
  }
  for (std::thread& connection : connections) connection.join();
  if (!shared.status.ok()) return shared.status;
  // The last calls may end after duration_s.
  const double measured = std::max(flags.duration_s, Since(shared.measure_from));
  return Show(Report(flags, load, shared, measured), flags.json);
}

}  // namespace lossd
