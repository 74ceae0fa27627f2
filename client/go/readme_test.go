package lossd_test

import (
	"os"
	"strings"
	"testing"
)

// unindented gives the lines without their leading tabs, which differ between a page and a function.
func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.Join(lines, "\n")
}

// TestReadme: the code of README.md is that of the examples, which run.
func TestReadme(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) < 9 {
		t.Fatalf("README.md has %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		code = strings.ReplaceAll(code, `"127.0.0.1:50051"`, "address")
		if !strings.Contains(unindented(string(examples)), unindented(code)) {
			t.Errorf("no example has this code of README.md:\n%s", code)
		}
	}
}
