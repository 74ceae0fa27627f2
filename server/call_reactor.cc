#include "server/call_reactor.h"

#include <grpcpp/support/byte_buffer.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/problem/error.h"
#include "server/final_status.h"

namespace lossd {

void CallReactor::Start() {
  clock_ = context_.watch->NewClock([weak = weak_from_this()] {
    if (const auto held = weak.lock()) held->OnIdle();
  });
  SetClock(context_.header_wait);
  call_->SendInitialMetadata();
  React([](auto* /*lock*/) {});
}

void CallReactor::SetClock(std::chrono::milliseconds patience) {
  if (patience == std::chrono::milliseconds::max()) return clock_->Stop();
  clock_->Set(patience);
}

void CallReactor::OnReadDone(bool ok) {
  React([this, ok](auto* lock) {
    lock->lock();
    reading_ = false;
    if (finished_) return incoming_.Clear();
    SetClock(context_.idle_stream);
    if (!ok) return HalfClosed();
    received_ = true;
    Received(lock);
  });
}

void CallReactor::OnWriteDone(bool ok) {
  React([this, ok](auto* lock) {
    lock->lock();
    writing_ = false;
    SetClock(context_.idle_stream);
    if (!ok) return EndEarly(absl::CancelledError("the call was cancelled"));
    Written();
  });
}

void CallReactor::OnCancel() {
  React([this](auto* lock) {
    lock->lock();
    EndEarly(absl::CancelledError("the call was cancelled"));
  });
}

void CallReactor::OnDone() {
  const std::lock_guard<std::mutex> lock(mutex_);
  incoming_.Clear();
  Release();
}

void CallReactor::OnIdle() {
  React([this](auto* lock) {
    lock->lock();
    if (finished_) return;
    EndEarly(
        received_
            ? FieldError(absl::StatusCode::kDeadlineExceeded, "", "IDLE_STREAM",
                         absl::StrCat("no byte was read or written for ",
                                      absl::FormatDuration(absl::FromChrono(context_.idle_stream))))
            : FirstMissing());
    // A write that the peer does not read would delay the end for ever.
    if (writing_) call_->TryCancel();
  });
}

void CallReactor::Read() {
  reading_ = true;
  incoming_.Clear();
  call_->Read(&incoming_);
}

void CallReactor::Write(const grpc::ByteBuffer& message) {
  writing_ = true;
  call_->Write(message);
}

void CallReactor::EndEarly(absl::Status status) {
  if (ended()) return;
  early_ = std::move(status);
  Stop();
}

void CallReactor::End(const absl::Status& status) {
  finished_ = true;
  clock_->Stop();
  // Release before the peer learns of the end and begins another call.
  Release();
  call_->Finish(status);
}

void CallReactor::Pump() {
  if (finished_) return;
  if (early_.ok()) Advance();
  if (!early_.ok() && !writing_) End(early_);
}

void CallReactor::RunOutOfMemory() noexcept {
  EndEarly(OutOfMemoryOrCode());
  Pump();
}

}  // namespace lossd
