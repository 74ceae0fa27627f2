// Errors that name the field at fault: an absl::Status that carries a field path and a stable
// reason, from which the wire makes google.rpc.BadRequest and ErrorInfo.
#ifndef LOSSD_CORE_PROBLEM_ERROR_H_
#define LOSSD_CORE_PROBLEM_ERROR_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// The facts in an error's message, as names and values for programs. docs/errors.md lists the
/// names.
using ErrorMetadata = std::vector<std::pair<std::string, std::string>>;

/// The parts of an error beside its code and message. Each may be empty.
struct ErrorDetail {
  std::string field;  ///< Path in the protocol's names, e.g. "input.shape".
  /// A stable upper-case word, e.g. "SHAPE_MISMATCH"; docs/errors.md lists them.
  std::string reason;
  double retry_after_s = 0;  ///< If > 0, waiting this long may help.
  ErrorMetadata metadata{};  ///< Each name once; GetErrorDetail sorts by name.
};

/// An error about one field, with the message "<field>: <what>". The functions that make errors are
/// cold, so that the compiler keeps them apart from the code of successful calls.
[[gnu::cold]] absl::Status FieldError(absl::StatusCode code, absl::string_view field,
                                      absl::string_view reason, absl::string_view what);

/// INVALID_ARGUMENT about one field; joins the pieces of `what`.
template <typename... Pieces>
[[gnu::cold]] absl::Status InvalidField(absl::string_view field, absl::string_view reason,
                                        const Pieces&... what) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, reason, absl::StrCat(what...));
}

/// Attaches `detail` to a status that is not OK. Its empty parts change nothing.
void SetErrorDetail(absl::Status* status, const ErrorDetail& detail);

/// `status` with `metadata` added to its own.
[[gnu::cold]] absl::Status WithMetadata(absl::Status status, const ErrorMetadata& metadata);

/// The metadata of an exceeded limit: its name as in v1.Limits ("max_classes"), its value, and the
/// value asked for.
template <typename Limit, typename Value>
[[gnu::cold]] ErrorMetadata LimitMetadata(absl::string_view limit, Limit limit_value, Value value) {
  return {{"limit", std::string(limit)},
          {"limit_value", absl::StrCat(limit_value)},
          {"value", absl::StrCat(value)}};
}

/// The metadata of a count that differs from the expected one.
template <typename Expected, typename Value>
[[gnu::cold]] ErrorMetadata ExpectedMetadata(Expected expected, Value value) {
  return {{"expected", absl::StrCat(expected)}, {"value", absl::StrCat(value)}};
}

/// The detail that `status` carries; empty if it has none.
ErrorDetail GetErrorDetail(const absl::Status& status);

/// Puts `prefix` before the field path of an error that has one, in its message too. The code and
/// the rest of the message and detail stay.
absl::Status WithFieldPrefix(const absl::Status& status, absl::string_view prefix);

/// Returns from the calling function if `expression`, an absl::Status, is an error.
#define LOSSD_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                     \
    if (absl::Status lossd_status = (expression); !lossd_status.ok()) return lossd_status; \
  } while (false)

}  // namespace lossd

#endif  // LOSSD_CORE_PROBLEM_ERROR_H_
