package lossd

import (
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Option configures a client.
type Option func(*settings)

type settings struct {
	tls   *tls.Config
	plain bool
	token *string
	dial  []grpc.DialOption
}

// WithTLS makes the connection use TLS. Root certificates, a client certificate and all else are
// config's; nil is for the system's roots and no client certificate.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) {
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		s.tls, s.plain = config, false
	}
}

// WithToken sends "authorization: Bearer TOKEN" with every call. It takes TLS or a Unix socket.
func WithToken(token string) Option {
	return func(s *settings) { s.token = &token }
}

// WithDialOptions passes options on to grpc.NewClient, after those of this package: interceptors, a
// stats handler, other transport credentials.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// dialOptions gives the options of the connection to target.
func (s *settings) dialOptions(target string) ([]grpc.DialOption, *Error) {
	transport := insecure.NewCredentials()
	if s.tls != nil {
		transport = credentials.NewTLS(s.tls)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("lossd-go/" + Version),
		// A server that is gone without a word ends its calls.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		// A server that comes back is found between the attempts of a call, and soon after a long rest.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second,
			},
			MinConnectTimeout: 20 * time.Second,
		}),
	}
	if s.token != nil {
		if err := checkToken(*s.token); err != nil {
			return nil, err
		}
		local := strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:")
		options = append(options, grpc.WithPerRPCCredentials(bearer{*s.token, !local}))
	}
	return append(options, s.dial...), nil
}

// checkToken refuses tokens that no header can hold, without saying them.
func checkToken(token string) *Error {
	outside := func(c rune) bool { return c < '!' || c > '~' }
	if token == "" || slices.ContainsFunc([]rune(token), outside) {
		return invalid("token", "", "expected printable ASCII characters without spaces")
	}
	return nil
}

// bearer is a token for every call.
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }
