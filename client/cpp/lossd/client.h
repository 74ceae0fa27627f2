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

/// A view of `values` as a row-major tensor of `shape`. The call checks that their sizes agree.
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
  /// The elements are uninitialized.
  explicit Tensor(TensorSpec spec);
  /// Becomes an uninitialized tensor of this type and shape. Reuses its memory if the size in bytes
  /// is the same.
  void Reset(TensorSpec spec);
  /// Becomes empty and frees its memory.
  void Clear();

  [[nodiscard]] const TensorSpec& spec() const { return spec_; }
  [[nodiscard]] absl::Span<std::byte> bytes() const { return {buffer_.data(), buffer_.size()}; }
  /// The elements, row-major. REQUIRES: sizeof(T) is the tensor's element size.
  template <typename T>
  [[nodiscard]] absl::Span<const T> As() const {
    return {reinterpret_cast<const T*>(buffer_.data()),  // NOLINT(*-reinterpret-cast)
            buffer_.size() / sizeof(T)};
  }

 private:
  TensorSpec spec_;
  Buffer buffer_;
};

/// How a request is sent.
enum class Transport : uint8_t {
  kAuto,    ///< One message if everything fits, a stream otherwise.
  kUnary,   ///< One message.
  kStream,  ///< A stream of chunks.
};

/// One problem. The memory behind its views must live until the call returns. Shapes and types are
/// those of torch.nn.CrossEntropyLoss; docs/semantics.md lists them all.
struct LossRequest {
  /// Logits of shape (C), (N, C) or (N, C, d1, ..., dK); float32, float64, float16 or bfloat16.
  TensorView input;
  /// Class indices of any integer type, of the input's shape without its class axis; or
  /// probabilities of the input's shape, and of its type or float32 beside a half-precision input.
  TensorView target;
  /// Class weights of shape (C) and the input's type, or float32 beside a half-precision input; all
  /// 1 if absent. C is not limited by the size of a message: in a stream, a weight of more than
  /// 64 KiB is sent ahead of the other tensors.
  std::optional<TensorView> weight;
  /// Incoming gradient, of the loss's shape and the input's type, or float32 beside a
  /// half-precision input; all ones if absent.
  std::optional<TensorView> grad_output;
  Criterion criterion;
  Outputs outputs;
  Transport transport = Transport::kAuto;
  /// Keeps alive the bytes of `input`, `target` and `grad_output`. With an owner, tensors of more
  /// than 16 KiB are sent without a copy. Without an owner they are copied first, because gRPC may
  /// hold the bytes that it sends beyond the end of a cancelled call. gRPC may release the owner on
  /// any thread. The bytes may be changed once the call has returned.
  std::shared_ptr<const void> owner;
  /// Bytes in one message of a stream, all tensors together; at least 1. Reduced to the message
  /// limit of the server. The client asks the server for this limit, once, if chunk_bytes is above
  /// the default or the request has `read_input` or `take_grad_input`.
  size_t chunk_bytes = size_t{1} << 20U;
  /// Replaces input.bytes if the input is not in memory: fills `to` with the input's bytes from
  /// byte `offset` on. Called front to back, from one thread that the call starts, for at most
  /// `chunk_bytes` at a time. The request is then sent as a stream, whatever `transport` is.
  std::function<void(uint64_t offset, absl::Span<std::byte> to)> read_input;
  /// Replaces result.grad_input if the gradient need not be in memory: gets its bytes front to
  /// back, on the calling thread. The request is then sent as a stream, whatever `transport` is.
  /// The bytes are void unless the call returns OK.
  std::function<void(absl::Span<const std::byte> bytes)> take_grad_input;
  /// Called on the calling thread while a stream goes on, with the bytes sent and received so far.
  /// The counts restart at 0 if the call is retried.
  std::function<void(uint64_t sent, uint64_t received)> progress;
};

/// The requested outputs; the other tensors are empty.
struct LossResult {
  /// A scalar, or one loss for each position with reduction none. float32 for half-precision input,
  /// otherwise the input's type.
  Tensor loss;
  Tensor log_sum_exp;  ///< One for each position, of the loss's type.
  Tensor grad_input;   ///< Of the input's shape and type.
  Tensor grad_target;  ///< Of the target's shape and type.
  Tensor grad_weight;  ///< Of shape (C) and the weight's type.
  Summary summary;     ///< Sums and counts.
};

/// Limits of a server. A call above a limit gets RESOURCE_EXHAUSTED; one whose tensors differ by
/// more than max_stream_skew_bytes gets FAILED_PRECONDITION.
struct ServerLimits {
  uint64_t max_message_bytes = 0;  ///< Size of one received message; larger tensors are streamed.
  uint32_t max_rank = 0;           ///< Dimensions of a tensor.
  int64_t max_classes = 0;
  int64_t max_positions = 0;
  uint64_t max_label_bytes = 0;        ///< Class indices that one stream may store.
  uint64_t max_stream_skew_bytes = 0;  ///< Lead of one tensor of a stream over another.
  uint64_t stream_window_bytes = 0;    ///< Input that one stream holds at once.
  uint64_t max_memory_bytes = 0;       ///< Memory of all calls in flight together.
};

/// The server's description of itself.
struct ServerInfo {
  std::string version;          ///< "major.minor.patch"
  std::string instruction_set;  ///< For example "AVX2"; results do not depend on it.
  uint32_t threads = 0;         ///< Worker threads.
  bool shared_memory = false;   ///< Whether tensors may be references to shared memory.
  ServerLimits limits;
};

struct ClientOptions {
  /// Sent as "authorization: Bearer TOKEN", and only over TLS or a Unix socket.
  std::string token;
  /// PEM root certificates. The connection uses TLS if they are not empty.
  std::string root_certificates;
  /// The timeout of each call, retries included; infinite by default. If a server disappears
  /// without closing its connection, calls still end within two minutes.
  absl::Duration timeout = absl::InfiniteDuration();
};

/// A connection to a server. Thread-safe. Calls block. Calls that end UNAVAILABLE are retried, with
/// at most four attempts within their timeout. Messages of more than 2 MiB, streams with
/// `read_input` or `take_grad_input`, and CheckHealth are not retried.
class Client {
 public:
  /// `address` is HOST:PORT or unix:PATH. Connects at the first call. INVALID_ARGUMENT if the
  /// address is empty, or if a token is given without TLS or a Unix socket.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const std::string& address,
                                                         const ClientOptions& options = {});
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Evaluates `request`. An error of the service carries a field path and a reason: see
  /// GetErrorDetail in core/problem/error.h.
  virtual absl::StatusOr<LossResult> Evaluate(const LossRequest& request) = 0;
  /// Evaluates `request` into `result` and reuses the memory of its tensors whose sizes are the
  /// same: new memory for a large gradient costs as much as sending it. After an error the values
  /// of the tensors are void.
  virtual absl::Status EvaluateInto(const LossRequest& request, LossResult* result) = 0;
  /// Merges the summaries of shards of one batch, exactly.
  virtual absl::StatusOr<Summary> Combine(absl::Span<const Summary> summaries) = 0;
  virtual absl::StatusOr<ServerInfo> GetServerInfo() = 0;
  /// OK if `service` is SERVING, UNAVAILABLE if the server reports another status. An empty name
  /// asks whether the server is alive; "lossd.v1.LossService" asks whether it is ready.
  virtual absl::Status CheckHealth(const std::string& service) = 0;

 protected:
  Client() = default;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_LOSSD_CLIENT_H_
