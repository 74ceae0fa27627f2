package lossd

import (
	"slices"
	"testing"
	"unsafe"
)

// TestBigEndian tries what other machines do, on this one.
func TestBigEndian(t *testing.T) {
	data := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for size, expected := range map[int][]byte{
		1: {1, 2, 3, 4, 5, 6, 7, 8}, 2: {2, 1, 4, 3, 6, 5, 8, 7}, 4: {4, 3, 2, 1, 8, 7, 6, 5}, 8: {8, 7, 6, 5, 4, 3, 2, 1},
	} {
		if got := wireBytes(data, size, false); !slices.Equal(got, expected) {
			t.Errorf("elements of %d bytes: %v", size, got)
		}
		if got := wireBytes(data, size, true); &got[0] != &data[0] {
			t.Error("little-endian bytes were copied")
		}
	}
	if !slices.Equal(data, []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Error("the caller's bytes were changed")
	}
}

// TestAlignment: bytes that begin anywhere become elements, without a copy where that can be.
func TestAlignment(t *testing.T) {
	memory := make([]float64, 3)
	memory[0], memory[1] = 1.5, -2.5
	data := bytesOf(memory)
	if got := valuesOf[float64](data[:16]); &got[0] != &memory[0] || len(got) != 2 {
		t.Errorf("aligned bytes were copied: %v", got)
	}
	copy(data[1:], slices.Clone(data[:16]))
	got := valuesOf[float64](data[1:17])
	if !slices.Equal(got, []float64{1.5, -2.5}) || uintptr(unsafe.Pointer(&got[0]))%8 != 0 {
		t.Errorf("bytes at an odd address: %v", got)
	}
}

func TestShare(t *testing.T) {
	for _, test := range [][4]int{{3, 4, 6, 2}, {1 << 62, 1 << 40, 1 << 41, 1 << 61}, {7, 0, 5, 0}} {
		if got := share(test[0], test[1], test[2]); got != test[3] {
			t.Errorf("%d * %d / %d: got %d", test[0], test[1], test[2], got)
		}
	}
}
