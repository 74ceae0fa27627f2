// The sending side of an EvaluateStream call.
#ifndef LOSSD_CLIENT_CPP_STREAM_WRITER_H_
#define LOSSD_CLIENT_CPP_STREAM_WRITER_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "client/cpp/stream_messages.h"

namespace lossd {

/// Raw messages, so that a tensor is copied once each way at most and not once more by the message
/// classes.
using RawStream = grpc::ClientReaderWriterInterface<grpc::ByteBuffer, grpc::ByteBuffer>;

/// A thread that writes a request, chunk by chunk. gRPC does not let go of a write to a peer that
/// has stopped reading, not even at its call's deadline, but when the connection ends: what such a
/// write needs outlives the writer and the call.
class StreamWriter {
 public:
  /// What the messages are made of must live as long as the writer.
  StreamWriter(StreamMessages messages, std::unique_ptr<grpc::ClientContext> context,
               std::unique_ptr<RawStream> stream);
  /// The call must have ended, or been cancelled.
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  grpc::ClientContext* context();
  RawStream* stream();
  /// Bytes of tensors written so far.
  [[nodiscard]] uint64_t sent() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_STREAM_WRITER_H_
