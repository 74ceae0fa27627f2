#include "core/problem/error.h"

#include <algorithm>
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
constexpr absl::string_view kMetadataPrefix = "lossd/metadata/";

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
  for (const auto& [name, value] : detail.metadata) {
    status->SetPayload(absl::StrCat(kMetadataPrefix, name), absl::Cord(value));
  }
}

absl::Status WithMetadata(absl::Status status, const ErrorMetadata& metadata) {
  SetErrorDetail(&status, {"", "", 0, metadata});
  return status;
}

ErrorDetail GetErrorDetail(const absl::Status& status) {
  ErrorDetail detail{Payload(status, kFieldKey), Payload(status, kReasonKey)};
  if (!absl::SimpleAtod(Payload(status, kRetryKey), &detail.retry_after_s)) {
    detail.retry_after_s = 0;
  }
  status.ForEachPayload([&detail](absl::string_view key, const absl::Cord& value) {
    if (!absl::ConsumePrefix(&key, kMetadataPrefix)) return;
    detail.metadata.emplace_back(std::string(key), std::string(value));
  });
  std::sort(detail.metadata.begin(), detail.metadata.end());
  return detail;
}

absl::Status FieldError(absl::StatusCode code, absl::string_view field, absl::string_view reason,
                        absl::string_view what) {
  absl::Status status(code, field.empty() ? std::string(what) : absl::StrCat(field, ": ", what));
  SetErrorDetail(&status, {std::string(field), std::string(reason)});
  return status;
}

absl::Status WithFieldPrefix(const absl::Status& status, absl::string_view prefix) {
  ErrorDetail detail = GetErrorDetail(status);
  if (status.ok() || detail.field.empty()) return status;
  absl::string_view what = status.message();
  absl::ConsumePrefix(&what, absl::StrCat(detail.field, ": "));
  detail.field = absl::StrCat(prefix, detail.field);
  absl::Status prefixed(status.code(), absl::StrCat(detail.field, ": ", what));
  SetErrorDetail(&prefixed, detail);
  return prefixed;
}

}  // namespace lossd
