#include "core/error.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

constexpr absl::string_view kFieldKey = "lossd/field";
constexpr absl::string_view kReasonKey = "lossd/reason";
constexpr absl::string_view kRetryKey = "lossd/retry_after_s";

std::string Payload(const absl::Status& status, absl::string_view key) {
  const auto cord = status.GetPayload(key);
  return cord ? std::string(*cord) : std::string();
}

}  // namespace

void SetErrorDetail(absl::Status* status, const ErrorDetail& detail) {
  if (!detail.field.empty()) status->SetPayload(kFieldKey, absl::Cord(detail.field));
  if (!detail.reason.empty()) status->SetPayload(kReasonKey, absl::Cord(detail.reason));
  if (detail.retry_after_s > 0) {
    status->SetPayload(kRetryKey, absl::Cord(absl::StrCat(detail.retry_after_s)));
  }
}

ErrorDetail GetErrorDetail(const absl::Status& status) {
  ErrorDetail detail{Payload(status, kFieldKey), Payload(status, kReasonKey)};
  if (!absl::SimpleAtod(Payload(status, kRetryKey), &detail.retry_after_s)) {
    detail.retry_after_s = 0;
  }
  return detail;
}

absl::Status FieldError(absl::StatusCode code, absl::string_view field, absl::string_view reason,
                        absl::string_view what) {
  absl::Status status(code, field.empty() ? std::string(what) : absl::StrCat(field, ": ", what));
  SetErrorDetail(&status, {std::string(field), std::string(reason)});
  return status;
}

absl::Status WithFieldPrefix(const absl::Status& status, absl::string_view prefix) {
  const ErrorDetail detail = GetErrorDetail(status);
  if (status.ok() || detail.field.empty()) return status;
  absl::string_view what = status.message();
  absl::ConsumePrefix(&what, absl::StrCat(detail.field, ": "));
  return FieldError(status.code(), absl::StrCat(prefix, detail.field), detail.reason, what);
}

}  // namespace lossd
