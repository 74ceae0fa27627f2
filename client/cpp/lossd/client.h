// lossd::Client: cross-entropy losses and gradients from a lossd server.
//
//     auto client = lossd::Client::Connect("127.0.0.1:50051");
//     std::vector<float> logits = ...;    // (512, 1000), row-major
//     std::vector<int64_t> labels = ...;  // (512)
//     lossd::LossRequest request;
//     request.input = lossd::View(absl::MakeConstSpan(logits), {512, 1000});
//     request.target = lossd::View(absl::MakeConstSpan(labels), {512});
//     request.criterion.cross_entropy().label_smoothing = 0.1;
//     request.outputs.grad_input = true;
//     absl::StatusOr<lossd::LossResult> result = (*client)->Evaluate(request);
//     if (!result.ok()) { /* the message names the field and what was expected */ }
//     float loss = result->loss.As<float>()[0];
#ifndef LOSSD_CLIENT_CPP_LOSSD_CLIENT_H_
#define LOSSD_CLIENT_CPP_LOSSD_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/buffer.h"
#include "core/problem/criterion.h"
#include "core/problem/dtype.h"
#include "core/problem/tensor.h"
#include "core/sums/summary.h"

namespace lossd {

/// The DType of a C++ arithmetic type.
template <typename T>
constexpr DType DTypeOf() {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
  if constexpr (std::is_floating_point_v<T>) {
    return sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
  } else {
    constexpr DType kBySize[] = {DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64};
    constexpr size_t kLog = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
    return static_cast<DType>(static_cast<int>(kBySize[kLog]) + (std::is_unsigned_v<T> ? 4 : 0));
  }
}

/// A view of `values` as a tensor of `shape`, row-major; the server checks that they fit.
template <typename T>
TensorView View(absl::Span<const T> values, Shape shape) {
  return {{DTypeOf<T>(), std::move(shape)},
          {reinterpret_cast<const std::byte*>(values.data()),  // NOLINT(*-reinterpret-cast)
           values.size() * sizeof(T)}};
}

/// A tensor that owns its bytes, 64-byte aligned.
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialized.
  explicit Tensor(TensorSpec spec);
  /// Becomes a tensor of this kind, uninitialized, in the memory that it has where that fits.
  void Reset(TensorSpec spec);
  /// Becomes empty.
  void Clear();

  [[nodiscard]] const TensorSpec& spec() const { return spec_; }
  [[nodiscard]] absl::Span<std::byte> bytes() const { return {buffer_.data(), buffer_.size()}; }
  /// The elements. REQUIRES: T is of the tensor's element size.
  template <typename T>
  [[nodiscard]] absl::Span<const T> As() const {
    return {reinterpret_cast<const T*>(buffer_.data()),  // NOLINT(*-reinterpret-cast)
            buffer_.size() / sizeof(T)};
  }

 private:
  TensorSpec spec_;
  Buffer buffer_;
};

/// How a request travels.
enum class Transport : uint8_t {
  kAuto,    ///< One message where everything fits, a stream otherwise.
  kUnary,   ///< One message.
  kStream,  ///< A stream of chunks.
};

/// One problem. What views refer to must live until the call returns. Shapes and types as in
/// torch.nn.CrossEntropyLoss; docs/semantics.md has them all.
struct LossRequest {
  TensorView input;   ///< (C), (N, C) or (N, C, d1, ..., dK); float32, float64, float16, bfloat16.
  TensorView target;  ///< Class indices, or probabilities of the input's shape.
  /// (C). In a stream a weight of more than 64 KiB goes ahead of the other tensors, of any C.
  std::optional<TensorView> weight;
  std::optional<TensorView> grad_output;  ///< Of the loss's shape.
  Criterion criterion;
  Outputs outputs;
  Transport transport = Transport::kAuto;
  /// What keeps alive the bytes that `input`, `target` and `grad_output` refer to. With it those of
  /// more than 16 KiB are sent from where they lie, and copied first without: gRPC may hold what it
  /// sends for longer than a call lives that was cancelled, and lets go of the owner on any thread.
  /// Bytes may be changed once the call has returned.
  std::shared_ptr<const void> owner;
  /// Bytes of one message of a stream, all tensors together; at least 1. Cut to what the server
  /// takes, which is asked for once where this is above the default or the request has functions.
  size_t chunk_bytes = size_t{1} << 20U;
  /// For an input that does not lie in memory, in place of input.bytes: fills `to` with the input's
  /// bytes from `offset` on. Called front to back from one thread of the call's own, at most
  /// `chunk_bytes` at a time; the request then travels as a stream.
  std::function<void(uint64_t offset, absl::Span<std::byte> to)> read_input;
  /// For a gradient that need not lie in memory, in place of result.grad_input: gets its bytes
  /// front to back, from the calling thread; the request then travels as a stream. What was given
  /// is void unless the call's status is OK.
  std::function<void(absl::Span<const std::byte> bytes)> take_grad_input;
  /// Called as a stream goes on with the bytes sent and received so far, from the calling thread;
  /// they begin at 0 again where the call is made again.
  std::function<void(uint64_t sent, uint64_t received)> progress;
};

/// What was asked for; other tensors are empty.
struct LossResult {
  Tensor loss;
  Tensor log_sum_exp;
  Tensor grad_input;
  Tensor grad_target;
  Tensor grad_weight;
  Summary summary;
};

/// Limits of a server. A call that passes one gets RESOURCE_EXHAUSTED.
struct ServerLimits {
  uint64_t max_message_bytes = 0;  ///< Size of one received message; larger tensors go by stream.
  uint32_t max_rank = 0;           ///< Dimensions of a tensor.
  int64_t max_classes = 0;
  int64_t max_positions = 0;
  uint64_t max_label_bytes = 0;        ///< Class indices that a stream stores.
  uint64_t max_stream_skew_bytes = 0;  ///< Lead of one tensor of a stream over another.
  uint64_t stream_window_bytes = 0;    ///< Input that a stream holds at once.
  uint64_t max_memory_bytes = 0;       ///< All calls in flight together.
};

/// The description that a server gives of itself.
struct ServerInfo {
  std::string version;          ///< "major.minor.patch"
  std::string instruction_set;  ///< Such as "AVX2"; results do not depend on it.
  uint32_t threads = 0;         ///< Number of its workers.
  bool shared_memory = false;   ///< Whether tensors may be references to shared memory.
  ServerLimits limits;
};

struct ClientOptions {
  /// Sent as "authorization: Bearer TOKEN"; only ever over TLS or a Unix socket.
  std::string token;
  /// PEM root certificates; given, the connection uses TLS.
  std::string root_certificates;
  /// For each call; infinite by default. The calls of a server that is gone without a word end
  /// within two minutes all the same.
  absl::Duration timeout = absl::InfiniteDuration();
};

/// A connection to a server. Thread-safe. Calls block. UNAVAILABLE ones are made again, with four
/// attempts at most within their timeout, but for messages of more than 2 MiB, and streams from or
/// to functions.
class Client {
 public:
  /// `address` is HOST:PORT or unix:PATH. Connects at the first call.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         const ClientOptions& options = {});
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Errors carry a field path and a reason: see GetErrorDetail in core/problem/error.h.
  virtual absl::StatusOr<LossResult> Evaluate(const LossRequest& request) = 0;
  /// The same into a result that has been used before: tensors of the same size are written where
  /// they are. New memory for a great gradient costs as much as sending it. After an error the
  /// tensors' values are void.
  virtual absl::Status EvaluateInto(const LossRequest& request, LossResult* result) = 0;
  /// Merges the summaries of shards, exactly.
  virtual absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries) = 0;
  virtual absl::StatusOr<ServerInfo> GetServerInfo() = 0;
  /// OK where the service is SERVING, UNAVAILABLE where it says otherwise. An empty name asks
  /// whether the server is alive, "lossd.v1.LossService" whether it is ready.
  virtual absl::Status CheckHealth(const std::string& service) = 0;

 protected:
  Client() = default;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_LOSSD_CLIENT_H_
