package lossd_test

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// fake is a server that answers as a test wants. Calls that the test does not set are Unimplemented.
type fake struct {
	lossdpb.UnimplementedLossServiceServer
	evaluate func(context.Context, *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error)
	stream   func(grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error
	many     func(grpc.BidiStreamingServer[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]) error
	combine  func() (*lossdpb.CombineResponse, error)
	info     func() (*lossdpb.GetServerInfoResponse, error)
}

func (f *fake) Evaluate(ctx context.Context, r *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error) {
	if f.evaluate == nil {
		return f.UnimplementedLossServiceServer.Evaluate(ctx, r)
	}
	return f.evaluate(ctx, r)
}

func (f *fake) EvaluateStream(s grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error {
	if f.stream == nil {
		return f.UnimplementedLossServiceServer.EvaluateStream(s)
	}
	return f.stream(s)
}

func (f *fake) EvaluateMany(s grpc.BidiStreamingServer[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]) error {
	if f.many == nil {
		return f.UnimplementedLossServiceServer.EvaluateMany(s)
	}
	return f.many(s)
}

func (f *fake) Combine(ctx context.Context, r *lossdpb.CombineRequest) (*lossdpb.CombineResponse, error) {
	if f.combine == nil {
		return f.UnimplementedLossServiceServer.Combine(ctx, r)
	}
	return f.combine()
}

func (f *fake) GetServerInfo(ctx context.Context, r *lossdpb.GetServerInfoRequest) (*lossdpb.GetServerInfoResponse, error) {
	if f.info == nil {
		return f.UnimplementedLossServiceServer.GetServerInfo(ctx, r)
	}
	return f.info()
}

// serve runs the fake until the test ends, and gives its address.
func (f *fake) serve(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	at, stop, err := f.start(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return at
}

// start runs the fake until stop is called, and gives its address.
func (f *fake) start(options ...grpc.ServerOption) (at string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer(options...)
	lossdpb.RegisterLossServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), server.Stop, nil
}

// answer is the right answer to small(), with a loss of 1.
func answer() *lossdpb.EvaluateResponse {
	return &lossdpb.EvaluateResponse{
		Loss: &lossdpb.Tensor{
			Dtype: lossdpb.DataType_DATA_TYPE_FLOAT32,
			Data:  &lossdpb.Tensor_Raw{Raw: []byte{0, 0, 0x80, 0x3f}},
		},
		Summary: &lossdpb.Summary{Dtype: lossdpb.DataType_DATA_TYPE_FLOAT32, Positions: 2},
	}
}

// refusal is an error with details, as lossd makes them.
func refusal(code codes.Code, reason string, retryAfter time.Duration) error {
	st := status.New(code, "refused")
	st, err := st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "lossd.v1"})
	if err == nil && retryAfter > 0 {
		st, err = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// noLeak fails the test where it leaves goroutines behind.
func noLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 1000 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
	})
}
