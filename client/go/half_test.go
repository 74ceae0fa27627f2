package lossd_test

import (
	"math"
	"math/rand/v2"
	"testing"

	lossd "github.com/lossd/lossd/client/go"
)

// neighbours rounds by search: to the nearest of all numbers of a type, of two as near to the even one.
func neighbours(x float64, number func(uint16) float64, infinity uint16) uint16 {
	sign := uint16(0)
	if math.Signbit(x) {
		sign, x = 0x8000, -x
	}
	low, high := uint16(0), infinity
	for low+1 < high {
		if middle := low + (high-low)/2; number(middle) <= x {
			low = middle
		} else {
			high = middle
		}
	}
	// Infinity stands where the next number would be.
	next := number(high)
	if high == infinity {
		next = number(infinity-1) + (number(infinity-1) - number(infinity-2))
	}
	below, above := x-number(low), next-x
	if number(low) == x || below < above || below == above && low&1 == 0 {
		return sign | low
	}
	return sign | high
}

func TestHalfTypes(t *testing.T) {
	number16 := func(bits uint16) float64 { return lossd.Float16(bits).Float64() }
	number := func(bits uint16) float64 { return lossd.BFloat16(bits).Float64() }
	for bits := range 1 << 16 {
		b := uint16(bits)
		for what, got := range map[string]uint16{
			"Float16": uint16(lossd.NewFloat16(number16(b))), "BFloat16": uint16(lossd.NewBFloat16(number(b))),
		} {
			value := number16(b)
			if what == "BFloat16" {
				value = number(b)
			}
			if got != b && !math.IsNaN(value) {
				t.Fatalf("%s: %#x becomes %v, and that %#x", what, b, value, got)
			}
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		x := math.Float64frombits(random.Uint64())
		if math.IsNaN(x) {
			continue
		}
		near := math.Ldexp(random.Float64()*2-1, random.IntN(50)-30)
		bits := uint16(random.IntN(0x7bff))
		tie := (number16(bits) + number16(bits+1)) / 2
		for _, value := range []float64{x, near, tie, math.Nextafter(tie, 0), math.Nextafter(tie, 1e9)} {
			if got, want := uint16(lossd.NewFloat16(value)), neighbours(value, number16, 0x7c00); got != want {
				t.Fatalf("Float16 of %v: got %#x, expected %#x", value, got, want)
			}
		}
		bits = uint16(random.IntN(0x7f7f))
		tie = (number(bits) + number(bits+1)) / 2
		for _, value := range []float64{x, near, tie, math.Nextafter(tie, 0), math.Nextafter(tie, math.Inf(1))} {
			if got, want := uint16(lossd.NewBFloat16(value)), neighbours(value, number, 0x7f80); got != want {
				t.Fatalf("BFloat16 of %v: got %#x, expected %#x", value, got, want)
			}
		}
	}
}

// TestHalfValues holds both types to numbers that everybody knows.
func TestHalfValues(t *testing.T) {
	for value, bits := range map[float64][2]uint16{
		1: {0x3c00, 0x3f80}, -2: {0xc000, 0xc000}, 0.5: {0x3800, 0x3f00}, 65504: {0x7bff, 0x4780},
		65520: {0x7c00, 0x4780}, math.Inf(-1): {0xfc00, 0xff80}, 0x1p-24: {1, 0x3380}, 0x1p-26: {0, 0x3280},
	} {
		if got := lossd.NewFloat16(value); uint16(got) != bits[0] {
			t.Errorf("Float16 of %v: got %#x, expected %#x", value, got, bits[0])
		}
		if got := lossd.NewBFloat16(value); uint16(got) != bits[1] {
			t.Errorf("BFloat16 of %v: got %#x, expected %#x", value, got, bits[1])
		}
	}
	if f, b := lossd.NewFloat16(math.NaN()).Float32(), lossd.NewBFloat16(math.NaN()).Float32(); f == f || b == b {
		t.Errorf("NaN becomes %v and %v", f, b)
	}
	if f, b := lossd.NewFloat16(1.5).Float32(), lossd.NewBFloat16(1.5).Float32(); f != 1.5 || b != 1.5 {
		t.Errorf("1.5 becomes %v and %v", f, b)
	}
}
