package lossd

import (
	"slices"
	"strings"

	"github.com/lossd/lossd/client/go/lossdpb"
)

// elementBytes gives the size of an element in bytes, 0 for what is no element type.
func elementBytes(dtype lossdpb.DataType) int {
	switch dtype {
	case lossdpb.DataType_DATA_TYPE_INT8, lossdpb.DataType_DATA_TYPE_UINT8:
		return 1
	case lossdpb.DataType_DATA_TYPE_FLOAT16, lossdpb.DataType_DATA_TYPE_BFLOAT16,
		lossdpb.DataType_DATA_TYPE_INT16, lossdpb.DataType_DATA_TYPE_UINT16:
		return 2
	case lossdpb.DataType_DATA_TYPE_FLOAT32, lossdpb.DataType_DATA_TYPE_INT32,
		lossdpb.DataType_DATA_TYPE_UINT32:
		return 4
	case lossdpb.DataType_DATA_TYPE_FLOAT64, lossdpb.DataType_DATA_TYPE_INT64,
		lossdpb.DataType_DATA_TYPE_UINT64:
		return 8
	}
	return 0
}

func isFloating(dtype lossdpb.DataType) bool {
	return dtype >= lossdpb.DataType_DATA_TYPE_FLOAT32 && dtype <= lossdpb.DataType_DATA_TYPE_BFLOAT16
}

// lossType gives the type of the losses of logits of a type.
func lossType(input lossdpb.DataType) lossdpb.DataType {
	if input == lossdpb.DataType_DATA_TYPE_FLOAT64 {
		return input
	}
	return lossdpb.DataType_DATA_TYPE_FLOAT32
}

// dtypeName gives the name of a type in the words of the server's errors.
func dtypeName(dtype lossdpb.DataType) string {
	return strings.TrimPrefix(dtype.String(), "DATA_TYPE_")
}

// tensorOver makes a floating tensor of bytes from the wire, over the same memory where that can be.
func tensorOver(spec spec, data []byte) AnyTensor {
	switch spec.dtype {
	case lossdpb.DataType_DATA_TYPE_FLOAT64:
		return &Tensor[float64]{Shape: slices.Clone(spec.shape), Data: valuesOf[float64](data)}
	case lossdpb.DataType_DATA_TYPE_FLOAT16:
		return &Tensor[Float16]{Shape: slices.Clone(spec.shape), Data: valuesOf[Float16](data)}
	case lossdpb.DataType_DATA_TYPE_BFLOAT16:
		return &Tensor[BFloat16]{Shape: slices.Clone(spec.shape), Data: valuesOf[BFloat16](data)}
	default:
		return &Tensor[float32]{Shape: slices.Clone(spec.shape), Data: valuesOf[float32](data)}
	}
}
