#include "server/unary_reactor.h"

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/problem/error.h"
#include "server/final_status.h"

namespace lossd {

void UnaryReactor::Start() {
  context_.messages->Enter(weak_from_this(), MessageWatch::For::kMessage, &ticket_);
  const std::lock_guard<std::mutex> lock(mutex_);
  reading_ = true;
  call_->Read(&message_);
}

void UnaryReactor::OnReadDone(bool ok) {
  grpc::ByteBuffer message;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    reading_ = false;
    message.Swap(&message_);
    if (answered_) return;
    counted_ = CallCounter::Handle(context_.calls);
  }
  if (!ok) return Answer(InvalidField("", "FIELD_MISSING", "expected a request message"), {});
  try {
    handler_(shared_from_this(), message);
  } catch (const std::bad_alloc&) {
    Answer(OutOfMemoryOrCode(), {});
  }
}

void UnaryReactor::Answer(const absl::Status& status, const std::vector<grpc::Slice>& response) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (answered_) return;
  answered_ = true;
  try {
    context_.messages->Enter(weak_from_this(), MessageWatch::For::kTaking, &ticket_);
  } catch (const std::bad_alloc&) {
    // No clock runs then; the peer's own deadline, or its connection, ends the wait.
  }
  if (!status.ok()) return call_->Finish(status);
  call_->WriteAndFinish(grpc::ByteBuffer(response.data(), response.size()));
}

void UnaryReactor::OnDone() {
  context_.messages->Leave(&ticket_);
  const std::lock_guard<std::mutex> lock(mutex_);
  over_ = true;
}

void UnaryReactor::OnLate() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Nobody takes the answer.
    if (answered_ && !over_) call_->TryCancel();
  }
  const absl::Duration wait = absl::FromChrono(context_.messages->patience());
  EndReading(
      FieldError(absl::StatusCode::kDeadlineExceeded, "", "MESSAGE_WAIT",
                 absl::StrCat("expected the whole request within ", absl::FormatDuration(wait))));
}

void UnaryReactor::OnCrowded() {
  EndReading(
      TryLater("too many requests have not come whole; expected the rest of this one sooner"));
}

void UnaryReactor::EndReading(const absl::Status& status) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!reading_) return;
  }
  Answer(status, {});
}

}  // namespace lossd
