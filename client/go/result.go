package lossd

import (
	"math"
	"math/big"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Result is the answer to one problem. Its tensors belong to the caller. They are of these types:
//
//	Loss, LogSumExp          *Tensor[float64] for a float64 input, else *Tensor[float32]
//	GradInput                as the input
//	GradTarget, GradWeight   as the target and the weight
type Result struct {
	// The loss: a scalar, or the shape of the positions with reduction None.
	Loss AnyTensor
	// Nil unless asked for.
	GradInput AnyTensor
	// Nil unless asked for.
	GradTarget AnyTensor
	// Nil unless asked for.
	GradWeight AnyTensor
	// The shape of the positions; nil unless asked for.
	LogSumExp AnyTensor
	// Counts of positions, and the exact sums, for Client.Combine.
	Summary *lossdpb.Summary
}

// LossValue gives a reduced loss. With reduction None it is the first position's.
func (r *Result) LossValue() float64 {
	if r.Loss == nil || r.Loss.Len() == 0 {
		return math.NaN()
	}
	return r.Loss.At(0)
}

// Normalizer gives the natural divisor of Mean, whatever the reduction and the normalizer given: the
// sum of the weights of the positions that count, or for a probability target the number of
// positions; summed exactly and rounded once.
//
// The gradients of micro-batches with reduction Sum, over the sum of their normalizers, are those of
// the whole batch. Where that sum is known beforehand, CrossEntropy.Normalizer gives the very bits.
func (r *Result) Normalizer() float64 { return Value(r.Summary.GetNormalizer(), r.Summary.GetDtype()) }

// LossSum gives the sum of the losses of all positions, whatever the reduction; summed exactly and
// rounded once.
func (r *Result) LossSum() float64 { return Value(r.Summary.GetLossSum(), r.Summary.GetDtype()) }

// Value rounds an exact sum once, to the nearest float64, ties to even.
//
// The sum is one of a Summary, whose dtype says what a unit is: 2^-1074 for float64, else 2^-149. NaN
// and infinities are as adding them up would give; zero is +0.
func Value(sum *lossdpb.ExactSum, dtype lossdpb.DataType) float64 {
	up, down := sum.GetPositiveInfinityCount() > 0, sum.GetNegativeInfinityCount() > 0
	switch {
	case sum.GetNanCount() > 0 || up && down:
		return math.NaN()
	case up:
		return math.Inf(1)
	case down:
		return math.Inf(-1)
	}
	exponent := -149
	if dtype == lossdpb.DataType_DATA_TYPE_FLOAT64 {
		exponent = -1074
	}
	units := signedInteger(sum.GetUnits())
	if units.Sign() == 0 {
		return 0
	}
	exact := new(big.Float).SetPrec(uint(units.BitLen())).SetInt(units)
	value, _ := new(big.Float).SetMantExp(exact, exponent).Float64()
	return value
}

// signedInteger reads a little-endian two's-complement integer.
func signedInteger(little []byte) *big.Int {
	large := make([]byte, len(little))
	for i, b := range little {
		large[len(little)-1-i] = b
	}
	value := new(big.Int).SetBytes(large)
	if len(large) > 0 && large[0] >= 0x80 {
		value.Sub(value, new(big.Int).Lsh(big.NewInt(1), uint(8*len(large))))
	}
	return value
}
