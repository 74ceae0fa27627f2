package lossd

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fromStatus makes an Error of a status, with its details.
func fromStatus(st *status.Status, cause error) *Error {
	e := &Error{Code: st.Code(), Message: st.Message(), status: st, cause: cause}
	path := ""
	// A detail that cannot be read is an error among these, and falls through.
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			if violations := detail.GetFieldViolations(); len(violations) > 0 && path == "" {
				path = violations[0].GetField()
			}
		case *errdetails.ErrorInfo:
			e.Reason = detail.GetReason()
			e.Metadata = detail.GetMetadata()
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, detail.GetRetryDelay().AsDuration())
			e.retryInfo = true
		}
	}
	e.Field = argumentPath(path)
	if rest, ok := strings.CutPrefix(e.Message, path+": "); ok && path != "" {
		e.Message = e.Field + ": " + rest
	}
	if e.Message == "" {
		e.Message = "no message"
	}
	return e
}

// asError makes an Error of whatever a call of gRPC ended with. Those that lossd did not make name
// the address.
func (c *Client) asError(ctx context.Context, err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	e := fromStatus(st, err)
	switch {
	case e.Code == codes.Unavailable && e.Reason == "":
		e.Message += c.at("")
	case e.Code == codes.Unimplemented:
		e.Message += c.at("is it a lossd server that answers there?")
	case e.Code == codes.ResourceExhausted && strings.Contains(e.Message, "larger than max"):
		e.Message += "; lossd.WithTransport(lossd.TransportStream) sends a problem in pieces"
	case e.Code == codes.Internal && e.Reason == "", e.Code == codes.Unknown:
		e.Message += c.at("")
	}
	// A context may end in ways of the transport's before gRPC looks at it.
	if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil && e.Reason == "" {
		e.Code = status.FromContextError(ctx.Err()).Code()
		e.status = status.New(e.Code, e.Message)
	}
	return e
}

func (c *Client) at(words string) string {
	text := " (server " + c.target + ")"
	if words != "" {
		text += "; " + words
	}
	return text
}

// fromProto makes an Error of the status of one answer in a pipeline.
func fromProto(st *statuspb.Status) *Error {
	if codes.Code(st.GetCode()) == codes.OK {
		return unexpected("an error of code OK")
	}
	err := status.FromProto(st)
	return fromStatus(err, err.Err())
}
