// Errors that name the field at fault: an absl::Status that carries a field path and a stable
// reason, so that the wire can make google.rpc.BadRequest and ErrorInfo of them.
#ifndef LOSSD_CORE_ERROR_H_
#define LOSSD_CORE_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// What an error says beside its code and message. Either may be empty.
struct ErrorDetail {
  std::string field;  ///< Path in the protocol's names, e.g. "input.shape".
  std::string
      reason;  ///< Stable upper-case word, e.g. "SHAPE_MISMATCH"; docs/errors.md lists them.
  double retry_after_s = 0;  ///< > 0: waiting this long may help.
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

/// Attaches `detail` to a status that is not OK.
void SetErrorDetail(absl::Status* status, const ErrorDetail& detail);

/// The detail that `status` carries; empty where there is none.
ErrorDetail GetErrorDetail(const absl::Status& status);

/// Puts `prefix` before the field path (and the message) of an error that has one.
absl::Status WithFieldPrefix(const absl::Status& status, absl::string_view prefix);

/// Returns from the calling function when the expression, an absl::Status, is an error.
#define LOSSD_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                     \
    if (absl::Status lossd_status = (expression); !lossd_status.ok()) return lossd_status; \
  } while (false)

}  // namespace lossd

#endif  // LOSSD_CORE_ERROR_H_
