package lossd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is the error of every call: the server's, the transport's, or that of an argument that could
// not be sent. Take it with errors.As. errors.Is finds context.DeadlineExceeded and
// context.Canceled where the caller's context ended the call.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Field is the path of the part of the problem at fault, such as "input.shape", "target[17]" or
	// "label_smoothing", in the protocol's words; "" where none is.
	Field string
	// Reason is a stable word of docs/errors.md, such as LABEL_OUT_OF_RANGE; "" where there is none.
	Reason string
	// RetryAfter is the time after which the call may succeed; 0 where waiting does not help, or
	// nothing is known. The call has been tried again already, as far as its deadline allowed.
	RetryAfter time.Duration
	// Message says what was expected and what was got.
	Message string
	// Metadata has the numbers of the message, by the names of docs/errors.md; mostly nil.
	Metadata map[string]string

	// The status that the call ended with.
	status *status.Status
	// Made from the answer of a server, or of what took its place.
	cause error
	// RetryInfo came, whatever its delay.
	retryInfo bool
}

// Error gives code, message and reason.
func (e *Error) Error() string {
	text := fmt.Sprintf("lossd: %v: %s", e.Code, e.Message)
	if e.Reason != "" {
		text += " [" + e.Reason + "]"
	}
	return text
}

// Unwrap gives the error that gRPC gave, or that of a reader or writer of the caller's; nil where the
// client itself refused the call.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus gives the status, with its details: status.FromError and status.Code use it.
func (e *Error) GRPCStatus() *status.Status {
	if e.status != nil {
		return e.status
	}
	return status.New(e.Code, e.Message)
}

// Is tells errors.Is that a deadline or a cancellation of the caller's is that of its context. Where
// the server ended the call for a reason of its own it is not.
func (e *Error) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded && e.Reason == ""
	case context.Canceled:
		return e.Code == codes.Canceled && e.Reason == ""
	}
	return false
}

// invalid is the error for an argument that cannot be sent, in the words of the server.
func invalid(field, reason, format string, args ...any) *Error {
	return &Error{
		Code: codes.InvalidArgument, Field: field, Reason: reason,
		Message: field + ": " + fmt.Sprintf(format, args...),
	}
}

// unexpected is the error for an answer that does not fit the question.
func unexpected(format string, args ...any) *Error {
	return &Error{
		Code:    codes.Internal,
		Message: "the server's answer is not one to this call: " + fmt.Sprintf(format, args...),
	}
}

// ownerPrefixes lead to an option in the protocol. Callers know the option alone.
var ownerPrefixes = []string{
	"header.", "request.", "criterion.", "cross_entropy.", "nll_loss.", "outputs.",
}

// argumentPath gives the part of a problem that a path of the protocol stands for, whether it went
// by message, stream or pipeline.
func argumentPath(path string) string {
	for _, prefix := range ownerPrefixes {
		path = strings.TrimPrefix(path, prefix)
	}
	return path
}
