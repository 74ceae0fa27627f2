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

/// Raw messages, so that a tensor is copied at most once each way. Message classes would copy it
/// once more.
using RawStream = grpc::ClientReaderWriterInterface<grpc::ByteBuffer, grpc::ByteBuffer>;

/// A thread that writes a request, chunk by chunk. If the peer has stopped reading, a write returns
/// only when the connection ends: gRPC does not end it at the call's deadline. The objects that
/// such a write needs therefore outlive the writer and the call.
class StreamWriter {
 public:
  /// The request of `messages` must outlive the writer.
  StreamWriter(StreamMessages messages, std::unique_ptr<grpc::ClientContext> context,
               std::unique_ptr<RawStream> stream);
  /// REQUIRES: the call has ended or has been cancelled.
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
