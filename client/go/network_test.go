package lossd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// large is a problem of 32 MiB, with its gradient.
func large() lossd.CrossEntropy {
	logits, labels := random(256, 32768)
	return lossd.CrossEntropy{Input: logits, Target: labels, Want: lossd.Outputs{GradInput: true}}
}

// everyWay makes each kind of call, with a time limit of its own.
func everyWay(t *testing.T, client *lossd.Client, limit time.Duration) map[string]error {
	t.Helper()
	pipeline := client.Pipeline(t.Context())
	errs := map[string]error{}
	for way, call := range map[string]func(context.Context) error{
		"unary": func(ctx context.Context) error { _, err := client.CrossEntropy(ctx, small()); return err },
		"stream": func(ctx context.Context) error {
			_, err := client.CrossEntropy(ctx, small(), lossd.WithTransport(lossd.TransportStream))
			return err
		},
		"many":    func(ctx context.Context) error { _, err := pipeline.Evaluate(ctx, small()); return err },
		"info":    func(ctx context.Context) error { _, err := client.ServerInfo(ctx); return err },
		"combine": func(ctx context.Context) error { _, err := client.Combine(ctx, &lossdpb.Summary{}); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		errs[way] = call(ctx)
		cancel()
	}
	if err := pipeline.Close(); err != nil {
		t.Error(err)
	}
	return errs
}

// within fails the test where it takes longer. Limits are for hangs: machines may be busy.
func within(t *testing.T, limit time.Duration) func() {
	t.Helper()
	begin := time.Now()
	return func() {
		t.Helper()
		if took := time.Since(begin); took > limit {
			t.Errorf("took %v, expected %v at most", took, limit)
		}
	}
}

func TestServerIsDown(t *testing.T) {
	noLeak(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := listener.Addr().String()
	listener.Close()
	for _, target := range []string{nowhere, "unix:" + t.TempDir() + "/no.sock"} {
		client := connect(t, target)
		soon := within(t, 60*time.Second)
		for way, err := range everyWay(t, client, time.Minute) {
			if e := asError(t, err); e.Code != codes.Unavailable || !strings.Contains(err.Error(), target) {
				t.Errorf("%s to %s: %v", way, target, err)
			}
		}
		soon()
	}
}

func TestForeignServers(t *testing.T) {
	noLeak(t)
	web := &http.Server{Handler: http.NotFoundHandler()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = web.Serve(listener) }()
	t.Cleanup(func() { web.Close() })
	at := listener.Addr().String()
	for way, err := range everyWay(t, connect(t, at), time.Minute) {
		if e := asError(t, err); e.Code != codes.Unavailable || !strings.Contains(err.Error(), at) {
			t.Errorf("%s to a web server: %v", way, err)
		}
	}
	other := (&fake{}).serve(t)
	for way, err := range everyWay(t, connect(t, other), time.Minute) {
		if e := asError(t, err); e.Code != codes.Unimplemented || !strings.Contains(err.Error(), other) {
			t.Errorf("%s to another gRPC server: %v", way, err)
		}
	}
}

// TestSilentServer: somebody takes the connection and never says a word.
func TestSilentServer(t *testing.T) {
	noLeak(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	client := connect(t, listener.Addr().String())
	defer within(t, 30*time.Second)()
	for way, err := range everyWay(t, client, 200*time.Millisecond) {
		if e := asError(t, err); e.Code != codes.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// TestDeafServer: a server takes the calls and never answers them.
func TestDeafServer(t *testing.T) {
	noLeak(t)
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	deaf := &fake{
		evaluate: func(ctx context.Context, _ *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error) {
			return nil, wait(ctx)
		},
		stream: func(s grpc.BidiStreamingServer[lossdpb.EvaluateStreamRequest, lossdpb.EvaluateStreamResponse]) error {
			return wait(s.Context())
		},
		many: func(s grpc.BidiStreamingServer[lossdpb.EvaluateManyRequest, lossdpb.EvaluateManyResponse]) error {
			return wait(s.Context())
		},
	}
	client := connect(t, deaf.serve(t))
	pipeline := client.Pipeline(t.Context())
	for end, code := range map[error]codes.Code{context.DeadlineExceeded: codes.DeadlineExceeded, context.Canceled: codes.Canceled} {
		for way, evaluate := range map[string]evaluation{
			"unary": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) { return c.CrossEntropy(ctx, small()) },
			"stream": func(ctx context.Context, c *lossd.Client) (*lossd.Result, error) {
				return c.CrossEntropy(ctx, large(), lossd.WithTransport(lossd.TransportStream), lossd.WithChunkBytes(50000))
			},
			"many": func(ctx context.Context, _ *lossd.Client) (*lossd.Result, error) {
				return pipeline.Evaluate(ctx, small())
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if end == context.Canceled {
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(200*time.Millisecond, cancel)
			}
			soon := within(t, 30*time.Second)
			_, err := evaluate(ctx, client)
			if e := asError(t, err); e.Code != code || !errors.Is(err, end) {
				t.Errorf("%s: got %v, expected %v", way, err, code)
			}
			cancel()
			soon()
		}
	}
	if err := pipeline.Close(); err != nil {
		t.Error(err)
	}
}

// proxy passes bytes on to a server. The first `breaks` connections break after some of them.
type proxy struct {
	net.Listener
	connections atomic.Int32
}

func newProxy(t *testing.T, server string, breaks int32, after int64) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				from.Close()
				continue
			}
			limit := int64(1 << 62)
			if p.connections.Add(1) <= breaks {
				limit = after
			}
			end := func() { from.Close(); to.Close() }
			go func() { defer end(); _, _ = io.CopyN(to, from, limit) }()
			go func() { defer end(); _, _ = io.Copy(from, to) }()
		}
	}()
	return p
}

func TestBreaksAreMended(t *testing.T) {
	noLeak(t)
	broken := newProxy(t, address, 2, 5_000_000)
	client := connect(t, broken.Addr().String())
	got, err := client.CrossEntropy(t.Context(), large())
	if err != nil {
		t.Fatal(err)
	}
	if n := broken.connections.Load(); n != 3 {
		t.Errorf("%d connections, expected 3: the first two break", n)
	}
	want, err := connect(t, address).CrossEntropy(t.Context(), large())
	if err != nil {
		t.Fatal(err)
	}
	if got.LossValue() != want.LossValue() {
		t.Errorf("got %v, expected %v", got.LossValue(), want.LossValue())
	}
}

func TestBreaksThatLast(t *testing.T) {
	noLeak(t)
	broken := newProxy(t, address, 1000, 5_000_000)
	client := connect(t, broken.Addr().String())
	_, err := client.CrossEntropy(t.Context(), large())
	if e := asError(t, err); e.Code != codes.Unavailable || !strings.Contains(err.Error(), broken.Addr().String()) {
		t.Error(err)
	}
	if n := broken.connections.Load(); n < 4 {
		t.Errorf("%d connections, expected one for each of 4 attempts", n)
	}
}

func TestPipelineSurvivesABreak(t *testing.T) {
	noLeak(t)
	broken := newProxy(t, address, 2, 20_000)
	client := connect(t, broken.Addr().String())
	answers := 0
	for i, answer := range client.EvaluateMany(t.Context(), repeated(1000)) {
		if answer.Err != nil {
			t.Fatalf("problem %d: %v", i, answer.Err)
		}
		answers++
	}
	if answers != 1000 || broken.connections.Load() < 3 {
		t.Errorf("%d answers over %d connections", answers, broken.connections.Load())
	}
}

func TestClosedClient(t *testing.T) {
	noLeak(t)
	client, err := lossd.NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	pipeline := client.Pipeline(t.Context())
	if _, err := pipeline.Evaluate(t.Context(), small()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	for way, err := range everyWay(t, client, time.Minute) {
		if e := asError(t, err); e.Code != codes.FailedPrecondition {
			t.Errorf("%s: %v", way, err)
		}
	}
	for range 2 {
		if err := pipeline.Close(); err != nil {
			t.Error(err)
		}
	}
}
