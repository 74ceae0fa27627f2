// Errors that name the field at fault: an absl::Status that carries a field path and a stable
// reason, so that the wire can make google.rpc.BadRequest and ErrorInfo of them.
#ifndef LOSSD_CORE_PROBLEM_ERROR_H_
#define LOSSD_CORE_PROBLEM_ERROR_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// What the message of an error says, as names and values for programs. docs/errors.md lists the
/// names.
using ErrorMetadata = std::vector<std::pair<std::string, std::string>>;

/// What an error says beside its code and message. Each may be empty.
struct ErrorDetail {
  std::string field;  ///< Path in the protocol's names, e.g. "input.shape".
  /// Stable upper-case word, e.g. "SHAPE_MISMATCH"; docs/errors.md lists them.
  std::string reason;
  double retry_after_s = 0;  ///< > 0: waiting this long may help.
  ErrorMetadata metadata{};  ///< By name, each once.
};

/// An error about one field. The message becomes "<field>: <what>". What leads to an error is cold:
/// compiled away from the code of calls that go well.
[[gnu::cold]] absl::Status FieldError(absl::StatusCode code, absl::string_view field,
                                      absl::string_view reason, absl::string_view what);

/// INVALID_ARGUMENT about one field; the pieces of `what` are joined.
template <typename... Pieces>
[[gnu::cold]] absl::Status InvalidField(absl::string_view field, absl::string_view reason,
                                        const Pieces&... what) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, reason, absl::StrCat(what...));
}

/// Attaches `detail` to a status that is not OK; what is empty in it stays as it was.
void SetErrorDetail(absl::Status* status, const ErrorDetail& detail);

/// `status` with these beside the metadata that it has.
[[gnu::cold]] absl::Status WithMetadata(absl::Status status, const ErrorMetadata& metadata);

/// The metadata of a limit that was passed: its name as in v1.Limits ("max_classes"), its value,
/// and what was asked for.
template <typename Limit, typename Value>
[[gnu::cold]] ErrorMetadata LimitMetadata(absl::string_view limit, Limit limit_value, Value value) {
  return {{"limit", std::string(limit)},
          {"limit_value", absl::StrCat(limit_value)},
          {"value", absl::StrCat(value)}};
}

/// The metadata of a count that is not the one expected.
template <typename Expected, typename Value>
[[gnu::cold]] ErrorMetadata ExpectedMetadata(Expected expected, Value value) {
  return {{"expected", absl::StrCat(expected)}, {"value", absl::StrCat(value)}};
}

/// The detail that `status` carries; empty where there is none.
ErrorDetail GetErrorDetail(const absl::Status& status);

/// Puts `prefix` before the field path (and the message) of an error that has one; all else of it
/// stays.
absl::Status WithFieldPrefix(const absl::Status& status, absl::string_view prefix);

/// Returns from the calling function when the expression, an absl::Status, is an error.
#define LOSSD_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                     \
    if (absl::Status lossd_status = (expression); !lossd_status.ok()) return lossd_status; \
  } while (false)

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_ERROR_H_
