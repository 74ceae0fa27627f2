package lossd

import (
	"github.com/lossd/lossd/client/go/lossdpb"
)

// Element is an element type of tensors: logits, weights and gradients are of a floating type, class
// indices of an integer type.
type Element interface {
	float32 | float64 | Float16 | BFloat16 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// Tensor is a dense row-major tensor. No shape, or an empty one, is that of a scalar.
//
// A call reads Data where it lies and keeps nothing of it: it must not change before the call has
// returned. Tensors of results belong to the caller.
type Tensor[T Element] struct {
	// Sizes of the dimensions, outermost first.
	Shape []int
	// The elements, as many as Shape asks for.
	Data []T
}

// NewTensor gives a tensor over data, which is not copied. The call that takes it says so where
// data does not have as many elements as shape asks for.
func NewTensor[T Element](data []T, shape ...int) *Tensor[T] {
	return &Tensor[T]{Shape: shape, Data: data}
}

// AnyTensor is a *Tensor of any element type, for results and operands whose type follows from other
// things. A type assertion gives the tensor: result.GradInput.(*lossd.Tensor[float32]).
type AnyTensor interface {
	Operand
	// DType gives the element type.
	DType() lossdpb.DataType
	// Dims gives the shape.
	Dims() []int
	// Len gives the number of elements in Data.
	Len() int
	// At gives element i in row-major order as a float64: exactly, but for integers beyond 2^53.
	At(i int) float64
}

// Operand is what a problem takes: a *Tensor, or a *Source for a tensor that need not be in memory.
type Operand interface {
	operand() operand
}

// DType gives the element type.
func (t *Tensor[T]) DType() lossdpb.DataType { return dtypeOf[T]() }

// Dims gives the shape.
func (t *Tensor[T]) Dims() []int { return t.Shape }

// Len gives the number of elements in Data.
func (t *Tensor[T]) Len() int { return len(t.Data) }

// At gives element i in row-major order as a float64.
func (t *Tensor[T]) At(i int) float64 {
	switch x := any(t.Data[i]).(type) {
	case Float16:
		return x.Float64()
	case BFloat16:
		return x.Float64()
	}
	return widened(t.Data[i])
}

// widened converts a built-in number. Its bits are no number for the half types.
func widened[T Element](x T) float64 { return float64(x) }

func (t *Tensor[T]) operand() operand {
	if t == nil {
		return operand{}
	}
	dtype := dtypeOf[T]()
	return operand{
		present: true, dtype: dtype, shape: t.Shape,
		data: wireBytes(bytesOf(t.Data), elementBytes(dtype), littleEndian),
	}
}

func dtypeOf[T Element]() lossdpb.DataType {
	var zero T
	switch any(zero).(type) {
	case float32:
		return lossdpb.DataType_DATA_TYPE_FLOAT32
	case float64:
		return lossdpb.DataType_DATA_TYPE_FLOAT64
	case Float16:
		return lossdpb.DataType_DATA_TYPE_FLOAT16
	case BFloat16:
		return lossdpb.DataType_DATA_TYPE_BFLOAT16
	case int8:
		return lossdpb.DataType_DATA_TYPE_INT8
	case int16:
		return lossdpb.DataType_DATA_TYPE_INT16
	case int32:
		return lossdpb.DataType_DATA_TYPE_INT32
	case int64:
		return lossdpb.DataType_DATA_TYPE_INT64
	case uint8:
		return lossdpb.DataType_DATA_TYPE_UINT8
	case uint16:
		return lossdpb.DataType_DATA_TYPE_UINT16
	case uint32:
		return lossdpb.DataType_DATA_TYPE_UINT32
	default:
		return lossdpb.DataType_DATA_TYPE_UINT64
	}
}
