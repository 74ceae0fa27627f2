package lossd

import (
	"io"
	"math"
	"math/bits"
	"slices"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// Source is a tensor that is read while it is sent. It goes by stream, once: a call that takes one is
// not made again where the server cannot be reached.
type Source struct {
	// The element type.
	DType lossdpb.DataType
	// Sizes of the dimensions, outermost first.
	Shape []int
	// Gives the little-endian elements in row-major order. No more is read than Shape asks for; to
	// end before is an error.
	Reader io.Reader
}

func (s *Source) operand() operand {
	if s == nil {
		return operand{}
	}
	return operand{present: true, dtype: s.DType, shape: s.Shape, reader: s.Reader, streamed: true}
}

// operand is a tensor of a problem as it goes over the wire.
type operand struct {
	// False where the caller gave none.
	present bool
	dtype   lossdpb.DataType
	shape   []int
	// The bytes, unless they come from a reader.
	data     []byte
	reader   io.Reader
	streamed bool
	// All bytes that shape and dtype ask for; set by checked.
	size int
}

// spec is the type and the shape of a tensor.
type spec struct {
	dtype lossdpb.DataType
	shape []int
}

// checked gives the operand with its size, or the error for one that cannot be framed.
func (o operand) checked(name string) (operand, *Error) {
	if !o.present {
		return o, nil
	}
	width := elementBytes(o.dtype)
	if width == 0 {
		return o, invalid(name+".dtype", "DTYPE_MISSING", "expected an element type, got %v", o.dtype)
	}
	if o.streamed && o.reader == nil {
		return o, invalid(name, "FIELD_MISSING", "expected a Source with a Reader, got none")
	}
	count, err := elements(name, o.shape)
	if err != nil {
		return o, err
	}
	if count > math.MaxInt/32 {
		return o, shapeOverflow(name, o.shape)
	}
	o.size = count * width
	if !o.streamed && len(o.data) != o.size {
		return o, invalid(name, "LENGTH_MISMATCH", "expected %d elements for shape %v, got %d",
			count, o.shape, len(o.data)/width)
	}
	return o, nil
}

// elements gives the number of elements of a shape.
func elements(name string, shape []int) (int, *Error) {
	for _, size := range shape {
		if size < 0 {
			return 0, invalid(name+".shape", "SIZE_NEGATIVE", "expected sizes of at least 0, got %v", shape)
		}
	}
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	count := uint(1)
	for _, size := range shape {
		high, low := bits.Mul(count, uint(size))
		if high != 0 || low > math.MaxInt {
			return 0, shapeOverflow(name, shape)
		}
		count = low
	}
	return int(count), nil
}

func shapeOverflow(name string, shape []int) *Error {
	return invalid(name+".shape", "SHAPE_OVERFLOW", "expected at most 2^62 bytes, got sizes %v", shape)
}

func (o operand) tensor() *lossdpb.Tensor {
	if !o.present {
		return nil
	}
	return &lossdpb.Tensor{
		Dtype: o.dtype, Shape: wireShape(o.shape), Data: &lossdpb.Tensor_Raw{Raw: o.data},
	}
}

// head gives the tensor without its data.
func (o operand) head() *lossdpb.Tensor {
	return &lossdpb.Tensor{Dtype: o.dtype, Shape: wireShape(o.shape)}
}

func (o operand) spec() *lossdpb.TensorSpec {
	if !o.present {
		return nil
	}
	return &lossdpb.TensorSpec{Dtype: o.dtype, Shape: wireShape(o.shape)}
}

func wireShape(shape []int) []int64 {
	sizes := make([]int64, len(shape))
	for i, size := range shape {
		sizes[i] = int64(size)
	}
	return sizes
}
