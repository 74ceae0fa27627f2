package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lossd/lossd/client/go/internal/lossdtest"
	"github.com/lossd/lossd/client/go/lossdpb"
)

// output runs the program and gives its standard output.
func output(t *testing.T, s settings) string {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdout
	os.Stdout = writer
	failed := run(t.Context(), s)
	os.Stdout = before
	writer.Close()
	text, err := io.ReadAll(reader)
	if failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return string(text)
}

// TestScore scores the small model, and again from the files that it left.
func TestScore(t *testing.T) {
	server, err := lossdtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	folder := t.TempDir()
	file := func(name string) string { return filepath.Join(folder, name) }
	first := output(t, settings{server: server.Address, save: folder, worst: 3, ignore: -100})
	if !regexp.MustCompile(`^300 positions of 3 classes, 0 ignored\nmean loss 0\.[12]\d*\naccuracy 0\.9\d*\nposition \d+: loss [234]`).MatchString(first) {
		t.Errorf("got %s", first)
	}
	second := output(t, settings{
		server: server.Address, logits: file("logits.npy"), labels: file("labels.npy"), losses: file("losses.npy"), worst: 3, ignore: -100,
	})
	if first != second {
		t.Errorf("from files: %s, before: %s", second, first)
	}
	losses, opened, err := open(file("losses.npy"))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	data, err := io.ReadAll(losses.Reader)
	if err != nil || losses.DType != lossdpb.DataType_DATA_TYPE_FLOAT32 || !slices.Equal(losses.Shape, []int{300}) || len(data) != 1200 {
		t.Errorf("losses: %v of shape %v, %d bytes, %v", losses.DType, losses.Shape, len(data), err)
	}
	ignoring := output(t, settings{server: server.Address, logits: file("logits.npy"), labels: file("labels.npy"), ignore: 1})
	if !strings.Contains(ignoring, " ignored\n") || strings.Contains(ignoring, ", 0 ignored") || strings.Contains(ignoring, "position ") {
		t.Errorf("with -ignore 1 -worst 0: %s", ignoring)
	}
}

func TestHeaders(t *testing.T) {
	header := func(text string) string { return magic + "\x01\x00" + string(rune(len(text))) + "\x00" + text }
	for text, expected := range map[string]string{
		"": "not a .npy file", "PK\x03\x04 and more": "not a .npy file", magic + "\x01\x00\x70": "cut short",
		magic + "\x01\x00\x70\x00{": "cut short", magic + "\x02\x00\x00\x00\x00\x70": "a header of",
		header("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }"):                    "type >f4",
		header("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }"):                   "Fortran",
		header("{'descr': '<f4', 'fortran_order': False}"):                                     "cannot read",
		header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }"): "value out of range",
	} {
		if _, err := readHeader(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%q: got %v, expected %s", text, err, expected)
		}
	}
	// Version 2 has a length of four bytes; a scalar has no sizes.
	text := "{'descr': '|u1', 'fortran_order': False, 'shape': (), }"
	source, err := readHeader(strings.NewReader(magic + "\x02\x00" + string(rune(len(text))) + "\x00\x00\x00" + text + "x"))
	if err != nil || source.DType != lossdpb.DataType_DATA_TYPE_UINT8 || len(source.Shape) != 0 {
		t.Fatal(source, err)
	}
	if data, err := io.ReadAll(source.Reader); err != nil || string(data) != "x" {
		t.Errorf("the data is %q, %v", data, err)
	}
}
