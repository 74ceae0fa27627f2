// Package lossdtest starts servers for tests.
package lossdtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// Server is a running lossd.
type Server struct {
	command *exec.Cmd
	// Address is where it listens on TCP.
	Address string
}

var listening = regexp.MustCompile(`state=serving.* listen=(127\.0\.0\.1:\d+)`)

// Start starts the lossd of the folder LOSSD_BIN, and returns when it serves. It listens on a port of
// 127.0.0.1 and where flags say.
func Start(flags ...string) (*Server, error) {
	folder := os.Getenv("LOSSD_BIN")
	if folder == "" {
		return nil, errors.New("LOSSD_BIN is not set: it has to name the folder of the server, such as build/release/bin")
	}
	command := exec.Command(filepath.Join(folder, "lossd"), append([]string{"--listen", "127.0.0.1:0"}, flags...)...)
	log, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	server := &Server{command: command}
	found := make(chan string, 1)
	go func() {
		defer close(found)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if match := listening.FindStringSubmatch(lines.Text()); match != nil {
				found <- match[1]
			}
		}
	}()
	select {
	case address, ok := <-found:
		if ok {
			server.Address = address
			return server, nil
		}
	case <-time.After(20 * time.Second):
	}
	server.Stop()
	return nil, fmt.Errorf("%s does not serve", command.Path)
}

// Stop ends the server and waits for it.
func (s *Server) Stop() {
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}
