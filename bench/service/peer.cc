// bench_peer: a raw gRPC service that only moves bytes, and a client for this or any service that
// takes raw bytes. Measures the limits of the wire itself.
//   bench_peer serve ADDR
//     prints "ready ADDR" and serves until stdin ends
//   bench_peer call ADDR METHOD BYTES N [NUMBER]...
//     N unary calls; the request is the NUMBERs, then zeros
//   bench_peer retried ADDR METHOD BYTES N
//     the same over a channel with the retry policy of lossd's clients
//   bench_peer load ADDR METHOD BYTES CONNECTIONS MS
//     unary calls over CONNECTIONS connections for MS milliseconds
//   bench_peer stream ADDR METHOD BYTES CHUNK N
//     N streams of BYTES bytes in messages of CHUNK bytes
// The client prints one line of JSON with the seconds of each call. The methods of `serve` are
// /bench/Call (unary; the request is the reply) and four bidirectional streams: /bench/Echo,
// /bench/Sink (a reply of 8 bytes at the end), /bench/EchoCopy and /bench/SinkCopy. The last two
// copy each byte once to aligned memory, as any service must that computes with the bytes.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/impl/codegen/rpc_method.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/server_callback_handlers.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/buffer.h"
#include "core/problem/load.h"

namespace lossd::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// Copies a message to an aligned buffer, and lends the buffer.
grpc::ByteBuffer CopyAligned(const grpc::ByteBuffer& message) {
  auto* buffer = new Buffer(std::max<size_t>(1, message.Length()));
  std::vector<grpc::Slice> slices;
  message.Dump(&slices).ok();
  size_t at = 0;
  for (const grpc::Slice& slice : slices) {
    std::memcpy(buffer->data() + at, slice.begin(), slice.size());
    at += slice.size();
  }
  const grpc::Slice lent(
      buffer->data(), at, [](void* held) { delete static_cast<Buffer*>(held); }, buffer);
  return {&lent, 1};
}

/// Echoes each message, or discards the messages and answers their end with 8 bytes.
class PeerReactor final : public grpc::ServerGenericBidiReactor {
 public:
  PeerReactor(bool echo, bool copy) : echo_(echo), copy_(copy) { StartRead(&message_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      if (echo_) return Finish(grpc::Status::OK);
      const grpc::Slice answer(std::string(8, '\0'));
      message_ = grpc::ByteBuffer(&answer, 1);
      return StartWriteAndFinish(&message_, {}, grpc::Status::OK);
    }
    if (copy_) message_ = CopyAligned(message_);
    if (echo_) return StartWrite(&message_);
    StartRead(&message_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish({grpc::CANCELLED, ""});
    if (echo_) StartRead(&message_);
  }
  void OnDone() override { delete this; }

 private:
  const bool echo_;
  const bool copy_;
  grpc::ByteBuffer message_;
};

class PeerService final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    const std::string method = context->method();
    const bool echo = method.rfind("/bench/Echo", 0) == 0;
    return new PeerReactor(echo, method.find("Copy") != std::string::npos);
  }
};

/// /bench/Call: the request is the reply, by the shortest path that gRPC has for a unary call.
class CallService final : public grpc::Service {
 public:
  CallService() {
    using grpc::internal::CallbackUnaryHandler;
    using grpc::internal::RpcMethod;
    AddMethod(new grpc::internal::RpcServiceMethod("/bench/Call", RpcMethod::NORMAL_RPC, nullptr));
    MarkMethodRawCallback(
        0, new CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
               [](grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                  grpc::ByteBuffer* reply) -> grpc::ServerUnaryReactor* {
                 *reply = *request;
                 grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
                 reactor->Finish(grpc::Status::OK);
                 return reactor;
               }));
  }
};

/// Sets the channel arguments that lossd's server and client set.
template <typename Arguments>
void Tune(Arguments&& set) {
  set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  set(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20);
  set(GRPC_ARG_TCP_READ_CHUNK_SIZE, 4 << 20);
}

int Serve(const std::string& address) {
  grpc::ServerBuilder builder;
  Tune([&builder](const char* name, int value) { builder.AddChannelArgument(name, value); });
  builder.SetMaxReceiveMessageSize(-1);
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  PeerService service;
  CallService calls;
  builder.RegisterService(&calls);
  builder.RegisterCallbackGenericService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return 1;
  std::cout << "ready "
            << (address.rfind("unix:", 0) == 0
                    ? address
                    : address.substr(0, address.rfind(':') + 1) + std::to_string(port))
            << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
  }
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

/// The retry policy of lossd's clients.
constexpr char kRetries[] = R"({"methodConfig": [{
  "name": [{"service": "bench"}],
  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                  "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

std::shared_ptr<grpc::Channel> Connect(const std::string& address, bool retried = false) {
  grpc::ChannelArguments arguments;
  if (retried) arguments.SetServiceConfigJSON(kRetries);
  Tune([&arguments](const char* name, int value) { arguments.SetInt(name, value); });
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

/// A message of `bytes` bytes: `numbers`, little-endian, then zeros.
grpc::ByteBuffer MessageOf(size_t bytes, const std::vector<int64_t>& numbers) {
  std::string message(bytes, '\0');
  const size_t head = std::min(bytes, numbers.size() * sizeof(int64_t));
  if (head > 0) std::memcpy(message.data(), numbers.data(), head);
  const grpc::Slice slice(message);
  return {&slice, 1};
}

void Print(const std::vector<double>& seconds) {
  std::cout << "[";
  for (size_t i = 0; i < seconds.size(); ++i) std::cout << (i == 0 ? "" : ",") << seconds[i];
  std::cout << "]" << std::endl;
}

/// Makes one call after the other over its own connection, as long as `more` of the number of calls
/// is true. Returns the seconds of each call.
template <typename More>
std::vector<double> Calls(const std::string& address, const std::string& method,
                          const grpc::ByteBuffer& message, bool retried, const More& more) {
  const auto channel = Connect(address, retried);
  const grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::NORMAL_RPC,
                                      channel);
  std::vector<double> seconds;
  while (more(seconds.size())) {
    grpc::ClientContext context;
    grpc::ByteBuffer reply;
    const auto begin = Clock::now();
    const grpc::Status status =
        grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
            channel.get(), rpc, &context, message, &reply);
    if (!status.ok()) {
      std::cerr << method << ": " << status.error_message() << "\n";
      std::exit(1);
    }
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return seconds;
}

int Call(const std::string& address, const std::string& method, size_t request, size_t count,
         const std::vector<int64_t>& numbers, bool retried) {
  const auto more = [count](size_t done) { return done < count; };
  Print(Calls(address, method, MessageOf(request, numbers), retried, more));
  return 0;
}

/// As `lossctl bench --concurrency`: each connection has its own thread.
int Load(const std::string& address, const std::string& method, size_t request, int connections,
         int milliseconds) {
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::milliseconds(milliseconds);
  std::mutex mutex;
  std::vector<double> all;
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) {
    threads.emplace_back([&] {
      const auto more = [end](size_t /*done*/) { return Clock::now() < end; };
      const auto some = Calls(address, method, MessageOf(request, {}), /*retried=*/false, more);
      const std::lock_guard<std::mutex> lock(mutex);
      all.insert(all.end(), some.begin(), some.end());
    });
  }
  for (std::thread& thread : threads) thread.join();
  Print(all);
  return 0;
}

int Stream(const std::string& address, const std::string& method, size_t bytes, size_t chunk,
           int count) {
  using Raw = grpc::ByteBuffer;
  const auto channel = Connect(address);
  const grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::BIDI_STREAMING,
                                      channel);
  // As in lossd's client, a chunk is lent when it is sent, and copied once when it is received.
  const auto* const source = new std::vector<char>(bytes, 'x');  // Leaked: gRPC may hold it.
  std::vector<char> sink(bytes + 64);
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) {
    grpc::ClientContext context;
    const auto begin = Clock::now();
    const std::unique_ptr<grpc::ClientReaderWriter<Raw, Raw>> stream(
        grpc::internal::ClientReaderWriterFactory<Raw, Raw>::Create(channel.get(), rpc, &context));
    std::thread writer([&] {
      for (size_t at = 0; at < bytes; at += chunk) {
        const grpc::Slice slice(source->data() + at, std::min(chunk, bytes - at),
                                grpc::Slice::STATIC_SLICE);
        if (!stream->Write(Raw(&slice, 1))) return;
      }
      stream->WritesDone();
    });
    Raw reply;
    size_t at = 0;
    while (stream->Read(&reply)) {
      std::vector<grpc::Slice> slices;
      reply.Dump(&slices).ok();
      for (const grpc::Slice& slice : slices) {
        const size_t size = std::min(slice.size(), sink.size() - at);
        std::memcpy(sink.data() + at, slice.begin(), size);
        at += size;
      }
    }
    writer.join();
    if (!stream->Finish().ok()) return 1;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  Print(seconds);
  return 0;
}

}  // namespace
}  // namespace lossd::bench

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  const auto number = [&words](size_t i) { return std::strtoull(words[i].c_str(), nullptr, 10); };
  if (words.size() == 3 && words[1] == "serve") return lossd::bench::Serve(words[2]);
  if (words.size() >= 6 && (words[1] == "call" || words[1] == "retried")) {
    std::vector<int64_t> numbers;
    for (size_t i = 6; i < words.size(); ++i) numbers.push_back(static_cast<int64_t>(number(i)));
    return lossd::bench::Call(words[2], words[3], number(4), number(5), numbers,
                              words[1] == "retried");
  }
  if (words.size() == 7 && words[1] == "load") {
    return lossd::bench::Load(words[2], words[3], number(4), static_cast<int>(number(5)),
                              static_cast<int>(number(6)));
  }
  if (words.size() == 7 && words[1] == "stream") {
    return lossd::bench::Stream(words[2], words[3], number(4), number(5),
                                static_cast<int>(number(6)));
  }
  std::cerr
      << "usage: bench_peer serve ADDR | call|retried ADDR METHOD BYTES N [NUMBER]... | load ADDR "
         "METHOD BYTES CONNECTIONS MS | stream ADDR METHOD BYTES CHUNK N\n";
  return 2;
}
