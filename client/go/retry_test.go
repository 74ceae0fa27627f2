package lossd_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// failing is a server that fails some times in all ways, and then answers with a loss of 1.
type failing struct {
	calls    atomic.Int32
	failures int32
	with     error
}

func (f *failing) next() error {
	if f.calls.Add(1) <= f.failures {
		return f.with
	}
	return nil
}

func (f *failing) fake() *fake {
	return &fake{
		evaluate: func(context.Context, *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error) {
			return answer(), f.next()
		},
		stream: func(s grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error {
			if err := f.next(); err != nil {
				return err
			}
			for {
				if _, err := s.Recv(); err != nil {
					break
				}
			}
			return s.Send(&lossdpb.EvaluateStreamResponse{Loss: answer().GetLoss().GetRaw(), Summary: answer().GetSummary()})
		},
		many: func(s grpc.BidiStreamingServer[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]) error {
			request, err := s.Recv()
			if err != nil {
				return err
			}
			if err := f.next(); err != nil {
				return err
			}
			return s.Send(&lossdpb.EvaluateManyResponse{
				Id: request.GetId(), Result: &lossdpb.EvaluateManyResponse_Response{Response: answer()},
			})
		},
	}
}

type evaluation func(context.Context, *lossd.Client) (*lossd.Result, error)

var ways = map[string]evaluation{
	"unary": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) {
		return c.CrossEntropy(ctx, small())
	},
	"stream": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) {
		return c.CrossEntropy(ctx, small(), lossd.WithTransport(lossd.TransportStream))
	},
	"many": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) {
		pipeline := c.Pipeline(ctx)
		defer pipeline.Close()
		return pipeline.Evaluate(ctx, small())
	},
}

func TestRetries(t *testing.T) {
	noLeak(t)
	for _, test := range []struct {
		name     string
		failures int32
		with     error
		calls    int32
		// OK: the call succeeds in the end.
		code    codes.Code
		atLeast time.Duration
	}{
		{"two failures", 2, refusal(codes.Unavailable, "", 0), 3, codes.OK, 150 * time.Millisecond},
		{"too many failures", 9, refusal(codes.Unavailable, "", 0), 4, codes.Unavailable, 500 * time.Millisecond},
		{"the server's delay", 1, refusal(codes.ResourceExhausted, "MEMORY_BUSY", 300*time.Millisecond), 2, codes.OK, 300 * time.Millisecond},
		{"no delay of the server's", 1, refusal(codes.ResourceExhausted, "MEMORY_LIMIT", 0), 1, codes.ResourceExhausted, 0},
		{"a delay for the caller to judge", 1, refusal(codes.ResourceExhausted, "MEMORY_BUSY", time.Hour), 1, codes.ResourceExhausted, 0},
		{"bad input", 1, refusal(codes.InvalidArgument, "X", 0), 1, codes.InvalidArgument, 0},
	} {
		for way, evaluate := range ways {
			server := &failing{failures: test.failures, with: test.with}
			client := connect(t, server.fake().serve(t))
			begin := time.Now()
			result, err := evaluate(t.Context(), client)
			if took := time.Since(begin); took < test.atLeast || took > time.Minute {
				t.Errorf("%s, %s: took %v", test.name, way, took)
			}
			if server.calls.Load() != test.calls {
				t.Errorf("%s, %s: %d calls, expected %d", test.name, way, server.calls.Load(), test.calls)
			}
			if test.code == codes.OK {
				if err != nil || result.LossValue() != 1 {
					t.Errorf("%s, %s: %v, %v", test.name, way, result, err)
				}
			} else if e := asError(t, err); e.Code != test.code {
				t.Errorf("%s, %s: %v", test.name, way, err)
			}
		}
	}
}

// TestRetriesKeepTheDeadline: a wait that the deadline does not allow is not begun.
func TestRetriesKeepTheDeadline(t *testing.T) {
	for way, evaluate := range ways {
		server := &failing{failures: 9, with: refusal(codes.ResourceExhausted, "MEMORY_BUSY", 25*time.Second)}
		client := connect(t, server.fake().serve(t))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		begin := time.Now()
		_, err := evaluate(ctx, client)
		e := asError(t, err)
		if e.Code != codes.ResourceExhausted || e.Reason != "MEMORY_BUSY" || e.RetryAfter != 25*time.Second || time.Since(begin) > 15*time.Second {
			t.Errorf("%s: %v, to be tried after %v, came after %v", way, err, e.RetryAfter, time.Since(begin))
		}
		cancel()
	}
}

func TestCancelledWait(t *testing.T) {
	for way, evaluate := range ways {
		server := &failing{failures: 9, with: refusal(codes.ResourceExhausted, "MEMORY_BUSY", 25*time.Second)}
		client := connect(t, server.fake().serve(t))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		begin := time.Now()
		_, err := evaluate(ctx, client)
		if !errors.Is(err, context.Canceled) || time.Since(begin) > 15*time.Second {
			t.Errorf("%s: %v after %v", way, err, time.Since(begin))
		}
		cancel()
	}
}

// TestReadersAndWritersGoOnce: their bytes are gone.
func TestReadersAndWritersGoOnce(t *testing.T) {
	source := small()
	source.Input = &lossd.Source{
		DType: lossdpb.DataType_DATA_TYPE_FLOAT32, Shape: []int{2, 3}, Reader: bytes.NewReader(make([]byte, 24)),
	}
	for name, evaluate := range map[string]evaluation{
		"a reader": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) { return c.CrossEntropy(ctx, source) },
		"a writer": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) {
			return c.CrossEntropy(ctx, small(), lossd.WithLossTo(&bytes.Buffer{}))
		},
	} {
		server := &failing{failures: 9, with: refusal(codes.Unavailable, "", 0)}
		_, err := evaluate(t.Context(), connect(t, server.fake().serve(t)))
		if e := asError(t, err); e.Code != codes.Unavailable || server.calls.Load() != 1 {
			t.Errorf("%s: %v after %d calls", name, err, server.calls.Load())
		}
	}
}

// TestServersDeadline: a deadline of the server's is not one of the caller's.
func TestServersDeadline(t *testing.T) {
	server := &failing{failures: 9, with: refusal(codes.DeadlineExceeded, "IDLE_STREAM", 0)}
	client := connect(t, server.fake().serve(t))
	_, err := ways["stream"](t.Context(), client)
	if e := asError(t, err); e.Code != codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestPipelineOpensAgain: a stream that ended for having rested takes the next problem again.
func TestPipelineOpensAgain(t *testing.T) {
	server := &failing{failures: 1, with: refusal(codes.DeadlineExceeded, "IDLE_STREAM", 0)}
	client := connect(t, server.fake().serve(t))
	pipeline := client.Pipeline(t.Context())
	defer pipeline.Close()
	for range 3 { // This server ends each stream after one answer.
		if _, err := pipeline.Evaluate(t.Context(), small()); err != nil {
			t.Fatal(err)
		}
	}
	if server.calls.Load() != 4 {
		t.Errorf("%d streams, expected 4", server.calls.Load())
	}
}
