package lossd

import (
	"context"
	"math"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Client is a connection to a lossd server. It is safe for use by many goroutines. Its calls are over
// when their context is done.
type Client struct {
	stub   lossdpb.LossServiceClient
	target string
	limits limitCache
	// Nil where the connection is the caller's.
	connection *grpc.ClientConn
	closed     atomic.Bool
}

// callOptions hold for every call. An answer may be greater than the 4 MiB that gRPC takes by default.
var callOptions = []grpc.CallOption{grpc.MaxCallRecvMsgSize(math.MaxInt32)}

// NewClient gives a client of the server at target: "HOST:PORT", "unix:PATH", or any name that
// grpc.NewClient takes. It connects when the first call is made. Without WithTLS the connection is in
// plaintext.
func NewClient(target string, options ...Option) (*Client, error) {
	if strings.TrimSpace(target) == "" || strings.ContainsRune(target, 0) {
		return nil, invalid("target", "", `expected "HOST:PORT" or "unix:PATH", got %q`, target)
	}
	var settings settings
	for _, option := range options {
		option(&settings)
	}
	dial, failed := settings.dialOptions(target)
	if failed != nil {
		return nil, failed
	}
	connection, err := grpc.NewClient(target, dial...)
	if err != nil {
		field := "target"
		if settings.token != nil && strings.Contains(err.Error(), "transport level security") {
			field = "token"
		}
		refused := invalid(field, "", "%v (server %s)", err, target)
		refused.cause = err
		return nil, refused
	}
	client := NewClientFromConn(connection)
	client.target, client.connection = target, connection
	return client, nil
}

// NewClientFromConn gives a client over a connection of the caller's, which Close leaves open.
func NewClientFromConn(connection grpc.ClientConnInterface) *Client {
	return &Client{stub: lossdpb.NewLossServiceClient(connection), target: "of the given connection"}
}

// Close ends the connection. Calls in flight end with code Canceled, later ones with
// FailedPrecondition. To close twice does nothing.
func (c *Client) Close() error {
	if c.closed.Swap(true) || c.connection == nil {
		return nil
	}
	if err := c.connection.Close(); err != nil {
		return c.asError(context.Background(), err)
	}
	return nil
}

// Stub gives the generated client, for what this package does not offer.
func (c *Client) Stub() lossdpb.LossServiceClient { return c.stub }

// CrossEntropy evaluates torch.nn.functional.cross_entropy.
func (c *Client) CrossEntropy(ctx context.Context, p CrossEntropy, options ...CallOption) (*Result, error) {
	return c.Evaluate(ctx, p, options...)
}

// NLLLoss evaluates torch.nn.functional.nll_loss.
func (c *Client) NLLLoss(ctx context.Context, p NLLLoss, options ...CallOption) (*Result, error) {
	return c.Evaluate(ctx, p, options...)
}

// Evaluate evaluates a problem of either kind. A problem that fits one message goes as one, others
// by stream. Where the server cannot be reached, or says that it is busy, the call is made again:
// four attempts at most, within the context's deadline.
func (c *Client) Evaluate(ctx context.Context, p Problem, options ...CallOption) (*Result, error) {
	result, err := c.evaluate(ctx, p, options)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// ServerInfo gives the server's version, instruction set, threads and limits.
func (c *Client) ServerInfo(ctx context.Context) (*lossdpb.GetServerInfoResponse, error) {
	info, err := c.serverInfo(ctx)
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (c *Client) evaluate(ctx context.Context, p Problem, options []CallOption) (*Result, *Error) {
	settings, err := callSettingsOf(options)
	if err != nil {
		return nil, err
	}
	checked, err := problemOf(p)
	if err != nil {
		return nil, err
	}
	if err := c.usable(); err != nil {
		return nil, err
	}
	streams, err := c.goesByStream(ctx, checked, &settings)
	if err != nil {
		return nil, err
	}
	var result *Result
	if streams {
		result, err = c.byStream(ctx, checked, settings)
	} else {
		result, err = c.byMessage(ctx, checked)
	}
	if err != nil && err.Code == codes.ResourceExhausted {
		c.forgetLimits()
	}
	return result, err
}

// goesByStream chooses the transport.
func (c *Client) goesByStream(ctx context.Context, p *problem, settings *callSettings) (bool, *Error) {
	pieces := p.streamed() || settings.written()
	size := p.bytes()
	switch {
	case settings.transport == TransportUnary && pieces:
		return false, invalid("transport", "", "expected a stream for a Source or an output to a writer")
	case settings.transport == TransportUnary && size > largestLimit:
		return false, tooLarge(size, largestLimit, "lossd.TransportStream takes any size")
	case settings.transport != TransportAuto:
		return settings.transport == TransportStream, nil
	case pieces || size > unaryBytes:
		return true, nil
	case size <= alwaysFits:
		return false, nil
	}
	most, err := c.mostData(ctx)
	return size > most, err
}

func (c *Client) byMessage(ctx context.Context, p *problem) (*Result, *Error) {
	request := p.request()
	return retry(ctx, func() (*Result, *Error) {
		response, err := c.stub.Evaluate(ctx, request, callOptions...)
		if err != nil {
			return nil, c.asError(ctx, err)
		}
		return resultOf(response, p)
	})
}

func (c *Client) serverInfo(ctx context.Context) (*lossdpb.GetServerInfoResponse, *Error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	info, err := retry(ctx, func() (*lossdpb.GetServerInfoResponse, *Error) {
		info, err := c.stub.GetServerInfo(ctx, &lossdpb.GetServerInfoRequest{}, callOptions...)
		if err != nil {
			return nil, c.asError(ctx, err)
		}
		return info, nil
	})
	if err == nil {
		c.remember(info.GetLimits())
	}
	return info, err
}

func (c *Client) usable() *Error {
	if c.closed.Load() {
		return &Error{Code: codes.FailedPrecondition, Message: "the client is closed; make another one"}
	}
	return nil
}

// problemOf checks a problem. A nil one is refused, as is a nil pointer to one.
func problemOf(p Problem) (*problem, *Error) {
	none := invalid("problem", "FIELD_MISSING", "expected a lossd.CrossEntropy or a lossd.NLLLoss, got nil")
	switch p := p.(type) {
	case nil:
		return nil, none
	case *CrossEntropy:
		if p == nil {
			return nil, none
		}
	case *NLLLoss:
		if p == nil {
			return nil, none
		}
	}
	return p.problem()
}
