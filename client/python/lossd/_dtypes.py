"""Element types: their names, their numbers on the wire, and how numpy keeps them.

numpy has no bfloat16. Inside this package its elements are the uint16 of their bits; results have
the type of the package ml_dtypes where it can be imported, and are these uint16 otherwise.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .v1 import tensor_pb2

# An array and an element type of any kind: which one is checked where they come in.
Array = npt.NDArray[Any]
DType = np.dtype[Any]

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

_WIRE = {name: f"DATA_TYPE_{name.upper()}" for name in FLOATS + INTEGERS}
_NAMES = {int(tensor_pb2.DataType.Value(value)): name for name, value in _WIRE.items()}


def wire(name: str) -> str:
    """The lossd.v1.DataType of a type, by its name."""
    return _WIRE[name]


def name_of(number: int) -> str | None:
    """The name of a lossd.v1.DataType, or None where it has none here."""
    return _NAMES.get(number)


@lru_cache(maxsize=64)
def name(dtype: DType) -> str:
    """The name of a numpy type, whatever its byte order: "text" for strings, "object" for Python's
    objects, numpy's own for others that the wire does not have."""
    return "text" if dtype.kind in "US" else dtype.name


@lru_cache(maxsize=64)
def stored(name: str) -> DType:
    """The little-endian numpy type that keeps the elements inside this package."""
    kept = "uint16" if name == "bfloat16" else name
    return np.dtype(kept).newbyteorder("<")


def result(name: str) -> DType:
    """The numpy type of results."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        return np.dtype(np.uint16)
    bfloat16: DType = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def companion(logits: str) -> str:
    """The type that numbers and lists take beside logits: the logits' own, and float32 beside
    halves, which keeps more of them."""
    return logits if logits in ("float32", "float64") else "float32"


def loss(logits: str) -> str:
    """The type of losses."""
    return "float64" if logits == "float64" else "float32"
