package lossd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
)

func TestVersion(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "version.txt"))
	if err != nil || strings.TrimSpace(string(text)) != lossd.Version {
		t.Errorf("version.txt has %q (%v), this module %q", text, err, lossd.Version)
	}
}
