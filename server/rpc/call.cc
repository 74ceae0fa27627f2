#include "server/rpc/call.h"

#include <grpcpp/support/byte_buffer.h>

#include <new>

#include "absl/status/status.h"
#include "server/final_status.h"
#include "server/rpc/call_queue.h"

namespace lossd {

void Call::Request(grpc::AsyncGenericService* service, grpc::ServerCompletionQueue* queue) {
  context_.AsyncNotifyWhenDone(&over_);
  service->RequestCall(&context_, &stream_, queue, queue, &requested_);
}

void Call::Requested(bool ok) {
  if (!ok) {
    // The server shuts down. Such a call never is over.
    delete this;
    return;
  }
  queue_.CallBegins();
  try {
    reactor_ = queue_.NewReactor(this);
    if (reactor_ == nullptr) {
      Finish(absl::UnimplementedError(""));
    } else {
      reactor_->Start();
    }
  } catch (const std::bad_alloc&) {
    reactor_ = nullptr;
    Finish(OutOfMemoryOrCode());
  }
  if (begun_or_cancelled_.exchange(true) && reactor_ != nullptr) reactor_->OnCancel();
  LetGo();
}

void Call::SendInitialMetadata() { stream_.SendInitialMetadata(Holding(&metadata_)); }

void Call::Read(grpc::ByteBuffer* message) { stream_.Read(message, Holding(&read_)); }

void Call::Write(const grpc::ByteBuffer& message) { stream_.Write(message, Holding(&write_)); }

void Call::Finish(const absl::Status& status) {
  stream_.Finish(FinalStatus(&context_, status), &finish_);
}

void Call::WriteAndFinish(const grpc::ByteBuffer& message) {
  stream_.WriteAndFinish(message, grpc::WriteOptions(), grpc::Status::OK, &finish_);
}

void Call::Over(bool /*ok*/) {
  if (!context_.IsCancelled()) return;
  if (begun_or_cancelled_.exchange(true) && reactor_ != nullptr) reactor_->OnCancel();
}

void Call::LetGo() {
  if (--pending_ > 0) return;
  if (reactor_ != nullptr) reactor_->OnDone();
  CallQueue& queue = queue_;
  delete this;
  queue.CallHasEnded();
}

}  // namespace lossd
