package lossd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// certificate makes a certificate that signs itself, for a server and a client at 127.0.0.1, and gives
// it as roots too.
func certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lossd"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots, nil
}

// guarded is a server that wants a token.
func guarded(token string) *fake {
	return &fake{evaluate: func(ctx context.Context, _ *lossdpb.EvaluateRequest) (*lossdpb.EvaluateResponse, error) {
		if got := metadata.ValueFromIncomingContext(ctx, "authorization"); len(got) != 1 || got[0] != "Bearer "+token {
			return nil, status.Error(codes.Unauthenticated, "expected a token")
		}
		return answer(), nil
	}}
}

func TestTLS(t *testing.T) {
	serverCertificate, serverRoots, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	clientCertificate, clientRoots, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	at := guarded("secret").serve(t, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{serverCertificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clientRoots,
	})))
	config := func(roots *x509.CertPool, own ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: roots, Certificates: own}
	}
	for name, test := range map[string]struct {
		options []lossd.Option
		code    codes.Code
	}{
		"all right":              {[]lossd.Option{lossd.WithTLS(config(serverRoots, clientCertificate)), lossd.WithToken("secret")}, codes.OK},
		"another token":          {[]lossd.Option{lossd.WithTLS(config(serverRoots, clientCertificate)), lossd.WithToken("guess")}, codes.Unauthenticated},
		"no token":               {[]lossd.Option{lossd.WithTLS(config(serverRoots, clientCertificate))}, codes.Unauthenticated},
		"no client certificate":  {[]lossd.Option{lossd.WithTLS(config(serverRoots)), lossd.WithToken("secret")}, codes.Unavailable},
		"a server not known":     {[]lossd.Option{lossd.WithTLS(config(clientRoots, clientCertificate)), lossd.WithToken("secret")}, codes.Unavailable},
		"the system's roots":     {[]lossd.Option{lossd.WithTLS(nil), lossd.WithToken("secret")}, codes.Unavailable},
		"plaintext, without TLS": {nil, codes.Unavailable},
	} {
		result, err := connect(t, at, test.options...).CrossEntropy(t.Context(), small())
		if test.code == codes.OK {
			if err != nil || result.LossValue() != 1 {
				t.Errorf("%s: %v", name, err)
			}
		} else if e := asError(t, err); e.Code != test.code || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTokenOverASocket: a Unix socket needs no TLS.
func TestTokenOverASocket(t *testing.T) {
	client := connect(t, socketAddress, lossd.WithToken("anything"))
	if _, err := client.CrossEntropy(t.Context(), small()); err != nil {
		t.Error(err)
	}
	var sent []string
	watch := grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any,
		connection *grpc.ClientConn, invoker grpc.UnaryInvoker, options ...grpc.CallOption) error {
		sent = append(sent, method)
		return invoker(ctx, method, request, reply, connection, options...)
	})
	client = connect(t, socketAddress, lossd.WithDialOptions(watch))
	if _, err := client.CrossEntropy(t.Context(), small()); err != nil || len(sent) != 1 {
		t.Errorf("%v; the caller's interceptor saw %v", err, sent)
	}
}
