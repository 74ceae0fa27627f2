package lossd

import (
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
)

// Transport says how a problem travels. The results have the same bits either way.
type Transport int

const (
	// TransportAuto chooses by size: a stream above 1 MiB, or above what the server's messages hold.
	TransportAuto Transport = iota
	// TransportUnary is one message each way.
	TransportUnary
	// TransportStream is pieces each way, in bounded memory of the server.
	TransportStream
)

// Progress tells how far a stream is, in bytes of tensors.
type Progress struct {
	// Sent bytes of all operands.
	Sent int64
	// Bytes that will be sent in all.
	ToSend int64
	// Received bytes of all outputs.
	Received int64
	// Bytes that will be received in all.
	ToReceive int64
}

// CallOption says how one call is made.
type CallOption func(*callSettings)

type callSettings struct {
	transport Transport
	chunk     int
	progress  func(Progress)
	writers   [outputKinds]io.Writer
}

// WithTransport chooses how the problem travels, in place of its size.
func WithTransport(transport Transport) CallOption {
	return func(s *callSettings) { s.transport = transport }
}

// WithChunkBytes sets the bytes of data in one message of a stream, all operands together; at least
// 1, and cut to what the server takes. 1 MiB if not given.
func WithChunkBytes(bytes int) CallOption {
	return func(s *callSettings) { s.chunk = bytes }
}

// WithProgress has report called as a stream goes on, never twice at the same time, and not after the
// call has returned. The call waits for report. A stream that is made again, since the server could
// not be reached, starts from 0. Problems that go as one message report nothing.
func WithProgress(report func(Progress)) CallOption {
	return func(s *callSettings) { s.progress = report }
}

// WithGradInputTo writes the little-endian bytes of the gradient of the input to w, in row-major
// order, as they come; Result.GradInput is then nil. The problem goes by stream, once: the call is not
// made again where the server cannot be reached. Where the call fails, the bytes written are void.
func WithGradInputTo(w io.Writer) CallOption {
	return func(s *callSettings) { s.writers[gradInputOutput] = w }
}

// WithGradTargetTo is as WithGradInputTo, for the gradient of a probability target.
func WithGradTargetTo(w io.Writer) CallOption {
	return func(s *callSettings) { s.writers[gradTargetOutput] = w }
}

// WithLossTo is as WithGradInputTo, for the losses.
func WithLossTo(w io.Writer) CallOption {
	return func(s *callSettings) { s.writers[lossOutput] = w }
}

// WithLogSumExpTo is as WithGradInputTo, for the log-sum-exps.
func WithLogSumExpTo(w io.Writer) CallOption {
	return func(s *callSettings) { s.writers[logSumExpOutput] = w }
}

func callSettingsOf(options []CallOption) (callSettings, *Error) {
	settings := callSettings{chunk: defaultChunkBytes}
	for _, option := range options {
		option(&settings)
	}
	if settings.chunk < 1 {
		return settings, invalid("chunk_bytes", "", "expected at least 1, got %d", settings.chunk)
	}
	if settings.transport < TransportAuto || settings.transport > TransportStream {
		return settings, invalid("transport", "",
			"expected TransportAuto, TransportUnary or TransportStream, got %d", int(settings.transport))
	}
	return settings, nil
}

// written tells whether an output goes to a writer.
func (s *callSettings) written() bool {
	for _, writer := range s.writers {
		if writer != nil {
			return true
		}
	}
	return false
}

// tooLarge is the error for a problem that no message of the server can carry.
func tooLarge(size, limit int, instead string) *Error {
	return &Error{
		Code: codes.ResourceExhausted, Field: "input", Reason: "LIMIT_EXCEEDED",
		Message: fmt.Sprintf("input: %d bytes with all that belongs to it, expected at most %d; %s",
			size, limit, instead),
	}
}
