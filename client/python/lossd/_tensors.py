"""Between numpy arrays and wire tensors."""

import numpy as np

from .v1 import tensor_pb2

_BY_NAME = {
    "float32": tensor_pb2.DATA_TYPE_FLOAT32,
    "float64": tensor_pb2.DATA_TYPE_FLOAT64,
    "float16": tensor_pb2.DATA_TYPE_FLOAT16,
    "bfloat16": tensor_pb2.DATA_TYPE_BFLOAT16,
    "int8": tensor_pb2.DATA_TYPE_INT8,
    "int16": tensor_pb2.DATA_TYPE_INT16,
    "int32": tensor_pb2.DATA_TYPE_INT32,
    "int64": tensor_pb2.DATA_TYPE_INT64,
    "uint8": tensor_pb2.DATA_TYPE_UINT8,
    "uint16": tensor_pb2.DATA_TYPE_UINT16,
    "uint32": tensor_pb2.DATA_TYPE_UINT32,
    "uint64": tensor_pb2.DATA_TYPE_UINT64,
}
_BY_TYPE = {value: name for name, value in _BY_NAME.items()}


def prepare(value, name):
    """A C-contiguous little-endian array of a type that the wire has; no copy where it is one."""
    array = np.asarray(value)
    if array.dtype.name not in _BY_NAME:
        raise TypeError(f"{name}: expected float16/32/64, bfloat16 or an integer type, "
                        f"got {array.dtype}")
    dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    return np.require(array, dtype=dtype, requirements=["C"]).reshape(array.shape)


def wire_type(array):
    """The DataType of an array."""
    return _BY_NAME[array.dtype.name]


def to_tensor(array):
    """The array as a Tensor of raw bytes."""
    return tensor_pb2.Tensor(dtype=wire_type(array), shape=array.shape, raw=array.tobytes())


def to_spec(array):
    """Type and shape of the array."""
    return tensor_pb2.TensorSpec(dtype=wire_type(array), shape=array.shape)


def from_tensor(tensor):
    """A read-only array over the tensor's raw bytes."""
    name = _BY_TYPE[tensor.dtype]
    if name == "bfloat16":
        import ml_dtypes

        dtype = np.dtype(ml_dtypes.bfloat16)
    else:
        dtype = np.dtype(name)
    return np.frombuffer(tensor.raw, dtype=dtype).reshape(tuple(tensor.shape))


def chunks(array, size):
    """Memory views of the array's bytes, `size` bytes each."""
    flat = memoryview(array.reshape(-1).view(np.uint8))
    for begin in range(0, len(flat), size):
        yield flat[begin:begin + size]
