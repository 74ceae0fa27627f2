package lossd

import "math"

// Float16 holds the bits of an IEEE 754 binary16 number.
type Float16 uint16

// BFloat16 holds the bits of a bfloat16 number: the upper half of a float32.
type BFloat16 uint16

const (
	float16Infinity = 0x7c00
	float16NaN      = 0x7e00

	// Bits of a float64's significand that a float16 of normal size does not have.
	float16Dropped = 42
	// The least exponent of a normal float16.
	float16MinExponent = -14
	float16Bias        = 15
)

// NewFloat16 rounds x to the nearest Float16, ties to even. Beyond 65520 it is infinite.
func NewFloat16(x float64) Float16 {
	bits := math.Float64bits(x)
	sign := Float16(bits>>48) & 0x8000
	if math.IsNaN(x) {
		return sign | float16NaN
	}
	magnitude := math.Abs(x)
	if magnitude >= 65520 {
		return sign | float16Infinity
	}
	exponent := int(bits>>52&0x7ff) - 1023
	if exponent < float16MinExponent {
		// Subnormal: a multiple of 2^-24, exactly the integer that the bits are.
		return sign | Float16(math.RoundToEven(math.Ldexp(magnitude, 24)))
	}
	fraction := bits & (1<<52 - 1)
	kept := uint64(exponent+float16Bias)<<10 | fraction>>float16Dropped
	// A carry out of the fraction makes the exponent one greater, as it has to.
	return sign | Float16(roundUp(kept, fraction&(1<<float16Dropped-1), 1<<(float16Dropped-1)))
}

// roundUp gives kept, or kept+1 where the dropped bits are more than half of a unit, or half of one
// and kept is odd.
func roundUp(kept, dropped, half uint64) uint64 {
	if dropped > half || dropped == half && kept&1 == 1 {
		return kept + 1
	}
	return kept
}

// Float64 gives the number exactly.
func (f Float16) Float64() float64 {
	exponent := int(f >> 10 & 0x1f)
	fraction := float64(f & 0x3ff)
	var magnitude float64
	switch exponent {
	case 0:
		magnitude = math.Ldexp(fraction, -24)
	case 0x1f:
		magnitude = math.Inf(1)
		if fraction != 0 {
			magnitude = math.NaN()
		}
	default:
		magnitude = math.Ldexp(fraction+1024, exponent-25)
	}
	if f&0x8000 != 0 {
		return math.Copysign(magnitude, -1)
	}
	return magnitude
}

// Float32 gives the number exactly.
func (f Float16) Float32() float32 { return float32(f.Float64()) }

// NewBFloat16 rounds x to the nearest BFloat16, ties to even.
func NewBFloat16(x float64) BFloat16 {
	if math.IsNaN(x) {
		return BFloat16(math.Float64bits(x)>>48)&0x8000 | 0x7fc0
	}
	return BFloat16(roundUp(uint64(roundToOdd(x)>>16), uint64(roundToOdd(x)&0xffff), 0x8000))
}

// roundToOdd gives the bits of the float32 next to x towards zero, with the last bit set where they
// are not equal: to round that once more is then as good as to round x.
func roundToOdd(x float64) uint32 {
	near := float32(x)
	bits := math.Float32bits(near)
	if float64(near) == x {
		return bits
	}
	if math.Abs(float64(near)) > math.Abs(x) {
		bits-- // One step towards zero, from infinity to the greatest number too.
	}
	return bits | 1
}

// Float32 gives the number exactly.
func (b BFloat16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// Float64 gives the number exactly.
func (b BFloat16) Float64() float64 { return float64(b.Float32()) }
