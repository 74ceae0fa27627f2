package lossd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
	"github.com/lossd/lossd/client/go/internal/lossdtest"
)

// Where the server of all tests listens.
var address, socketAddress string

// root is the top of the repository.
const root = "../.."

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	directory, err := os.MkdirTemp("", "lossd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(directory)
	socketAddress = "unix:" + filepath.Join(directory, "lossd.sock")
	server, err := lossdtest.Start("--listen", socketAddress)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	address = server.Address
	return m.Run()
}

// connect gives a client that is closed with the test.
func connect(t testing.TB, target string, options ...lossd.Option) *lossd.Client {
	t.Helper()
	client, err := lossd.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}
