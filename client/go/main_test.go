package lossd_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	lossd "github.com/lossd/lossd/client/go"
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
	server, err := startServer("--listen", "127.0.0.1:0,"+socketAddress)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.stop()
	address = server.address
	return m.Run()
}

// lossdProcess is a running lossd.
type lossdProcess struct {
	command *exec.Cmd
	address string
}

var listening = regexp.MustCompile(`state=serving.* listen=(127\.0\.0\.1:\d+)`)

// startServer starts the lossd in the folder LOSSD_BIN, and returns when it serves.
func startServer(flags ...string) (*lossdProcess, error) {
	folder := os.Getenv("LOSSD_BIN")
	if folder == "" {
		return nil, fmt.Errorf("LOSSD_BIN is not set: it has to name the folder of the server, such as build/release/bin")
	}
	command := exec.Command(filepath.Join(folder, "lossd"), flags...)
	log, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	found := make(chan string)
	go func() {
		defer close(found)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if match := listening.FindStringSubmatch(lines.Text()); match != nil {
				found <- match[1]
			}
		}
	}()
	select {
	case at, ok := <-found:
		if ok {
			return &lossdProcess{command, at}, nil
		}
	case <-time.After(20 * time.Second):
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	return nil, fmt.Errorf("%s does not serve", command.Path)
}

// stop ends the server and waits for it.
func (p *lossdProcess) stop() {
	_ = p.command.Process.Signal(syscall.SIGKILL)
	_ = p.command.Wait()
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
