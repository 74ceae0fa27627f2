"""Arrays from whatever callers hold: numpy, lists, torch, anything with __array__ or DLPack.

Nothing is imported for it. Masked arrays are refused: their masked entries would count.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _dtypes
from ._dtypes import Array
from ._exceptions import InvalidArgument, LossdError, describe, invalid, invalid_type

_NESTS = (list, tuple, range)
_MOST_DIMENSIONS = 64


@dataclass(frozen=True)
class Source:
    """An argument as an array, as its caller gave it.

    Attributes:
        name: the argument's name.
        array: its elements; those of bfloat16 as the uint16 of their bits.
        dtype: name of the element type, which need not be one of the wire's.
        weak: true where the caller stated no element type: numbers, and lists of them.
    """

    name: str
    array: Array
    dtype: str
    weak: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def is_integer(self) -> bool:
        return self.dtype in _dtypes.INTEGERS

    @property
    def is_number(self) -> bool:
        return self.is_integer or self.dtype in _dtypes.FLOATS


@dataclass(frozen=True)
class Operand:
    """An array that is ready for the wire.

    Attributes:
        array: C-contiguous and little-endian, bfloat16 as uint16.
        dtype: name of the element type, one of _dtypes.
    """

    array: Array
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def nbytes(self) -> int:
        return int(self.array.nbytes)

    def view(self) -> memoryview:
        """The elements' bytes in row-major order."""
        return self.array.reshape(-1).view(np.uint8).data


def read(value: Any, name: str) -> Source:
    """The argument as an array.

    Raises:
        InvalidType: it is masked, or nothing that could be an array.
        InvalidArgument: a list whose rows are of different lengths.
    """
    try:
        array, dtype = _converted(value, name)
    except (LossdError, MemoryError):
        raise
    except Exception as error:  # Array libraries raise all kinds.
        why = str(error).split("\n", 1)[0]
        fault = invalid if isinstance(value, _NESTS) else invalid_type
        raise fault(name, "", f"expected an array of numbers; {describe(value)} cannot be read as "
                    f"one: {why}") from error
    weak = array.ndim == _depth(value) or dtype == "object"
    if dtype == "object":
        array = _from_objects(array, name)
        dtype = array.dtype.name
    return Source(name, array, dtype, weak)


def ready(source: Source) -> Operand:
    """The argument in its own type, which must be one of the wire's. No copy where its memory is
    as it has to be."""
    stored = _dtypes.stored(source.dtype)
    if source.array.flags.c_contiguous and source.array.dtype == stored:
        return Operand(source.array, source.dtype)
    array = np.require(source.array, dtype=stored, requirements=["C"]).reshape(source.shape)
    return Operand(array, source.dtype)


def taken_as(source: Source, dtype: str) -> Operand:
    """Numbers in another type, each rounded to nearest even.

    Args:
        source: weak, of a type of the wire.
        dtype: "float32" or "float64".

    Raises:
        InvalidArgument: a finite one is beyond the type.
    """
    if source.dtype == dtype:
        return ready(source)
    values = source.array
    if source.dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        array = values.astype(_dtypes.stored(dtype))
    beyond = np.isinf(array) & np.isfinite(values.astype(np.float64))
    if beyond.any():
        at = _first(beyond)
        raise invalid(source.name + place(at), "VALUE_RANGE",
                      f"expected a number in the range of {dtype}, got {values[at]}")
    return Operand(np.ascontiguousarray(array).reshape(source.shape), dtype)


def place(index: tuple[int, ...]) -> str:
    """An index as it is written after a name."""
    return f"[{', '.join(map(str, index))}]" if index else ""


def _converted(value: Any, name: str) -> tuple[Array, str]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(torch, value)
    if isinstance(value, _NESTS):
        _refuse_masked_in(value, name)
    array = (np.from_dlpack(value)
             if hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
             else np.asanyarray(value))
    if isinstance(array, np.ma.MaskedArray):
        raise _masked(name)
    array = np.asarray(array)
    dtype = _dtypes.name(array.dtype)
    return (array.view(np.uint16) if dtype == "bfloat16" else array), dtype


def _from_torch(torch: Any, tensor: Any) -> tuple[Array, str]:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.bfloat16:
        # Signed: older releases of torch have no uint16.
        return plain.view(torch.int16).numpy().view(np.uint16), "bfloat16"
    array = plain.numpy()
    return array, _dtypes.name(array.dtype)


def _refuse_masked_in(value: Sequence[Any], name: str, depth: int = 1) -> None:
    """Refuses lists with masked arrays in them: numpy would drop the masks."""
    if depth > _MOST_DIMENSIONS:
        raise invalid(name, "", f"expected lists nested at most {_MOST_DIMENSIONS} deep")
    if isinstance(value, range):
        return
    kinds = set(map(type, value))
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        raise _masked(name)
    if any(issubclass(kind, _NESTS) for kind in kinds):
        for item in value:
            if isinstance(item, _NESTS):
                _refuse_masked_in(item, name, depth + 1)


def _masked(name: str) -> InvalidArgument:
    return invalid_type(name, "", "expected no mask, got a masked array: its masked entries would "
                        "count; use ignore_index for labels, or .filled()")


def _depth(value: Any) -> int:
    """How deep the lists nest."""
    depth = 0
    while isinstance(value, _NESTS):
        depth += 1
        if len(value) == 0:
            break
        value = value[0]
    return depth


def _from_objects(array: Array, name: str) -> Array:
    """Python's numbers as numpy's: int64 or uint64 where all are integers, else float64."""
    values = array.reshape(-1).tolist()
    if array.ndim == 0 and not isinstance(values[0], int):
        raise invalid_type(name, "", f"expected an array of numbers, got {describe(values[0])}")
    for number, value in enumerate(values):
        if not isinstance(value, (int, float, np.integer, np.floating)):
            at = place(tuple(int(i) for i in np.unravel_index(number, array.shape)))
            missing = value is None or type(value).__name__ in ("NAType", "NaTType")
            words = (f"a gap ({value})" if missing else describe(value))
            hint = "; fill gaps first, those of labels with ignore_index" if missing else ""
            raise invalid_type(name, "", f"expected numbers, got {words} at {name}{at}{hint}")
    if any(isinstance(value, (float, np.floating)) for value in values):
        return np.array([float(value) for value in values]).reshape(array.shape)
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(values, dtype=dtype).reshape(array.shape)
        except OverflowError:
            continue
    raise invalid(name, "VALUE_RANGE", "expected integers in [-2^63, 2^64 - 1]")


def _first(where: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(where)[0])
