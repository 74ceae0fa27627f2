"""How the arrays of a problem have to fit each other.

The server checks the same again. It is checked here too because only here it is known under which
names the caller gave things, and because answers are measured by it.
"""

from dataclasses import dataclass

import numpy as np

from . import _dtypes
from ._arrays import Operand, Source, place, ready, taken_as
from ._criteria import Kind
from ._exceptions import InvalidArgument, invalid, invalid_type
from ._options import Options

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """The shapes that follow from the logits and the class axis.

    Attributes:
        logits: shape of the logits.
        dtype: type of the logits.
        axis: the class axis, from the front.
    """

    logits: Shape
    dtype: str
    axis: int

    @property
    def classes(self) -> int:
        return self.logits[self.axis]

    @property
    def positions(self) -> Shape:
        return self.without(self.axis)

    def without(self, axis: int) -> Shape:
        """The logits' shape without one axis."""
        return self.logits[:axis] + self.logits[axis + 1:]


def take_input(source: Source) -> Operand:
    """The logits; those of no stated type as float32.

    Raises:
        InvalidArgument: they are of another type or have no dimension.
    """
    if source.weak and source.is_number:
        operand = taken_as(source, "float32")
    elif source.dtype in _dtypes.FLOATS:
        operand = ready(source)
    else:
        raise invalid_type("input.dtype", "DTYPE_UNSUPPORTED", "expected float32, float64, float16 "
                           f"or bfloat16, got {source.dtype}")
    if not operand.shape:
        raise invalid("input.shape", "RANK_MISMATCH",
                      "expected (C), (N, C) or (N, C, d1, ..., dK), got a scalar")
    return operand


def find_classes(logits: Operand, class_axis: int) -> Geometry:
    """Where the classes are.

    Raises:
        InvalidArgument: the logits have no such axis, or no classes there.
    """
    rank = len(logits.shape)
    wanted = 0 if rank == 1 and class_axis == 1 else class_axis
    if not -rank <= wanted < rank:
        raise invalid("class_axis", "CLASS_AXIS_RANGE",
                      f"expected an axis in [{-rank}, {rank}) for an input of shape "
                      f"{logits.shape}, got {class_axis}")
    geometry = Geometry(logits.shape, logits.dtype, wanted % rank)
    if geometry.classes < 1:
        raise invalid("input.shape", "CLASSES_EMPTY", "expected at least 1 class at axis "
                      f"{geometry.axis} (class_axis={class_axis}), got {logits.shape}")
    return geometry


def take_target(source: Source, geometry: Geometry, kind: Kind) -> Operand:
    """Class indices or probabilities; numbers of no stated type become what their shape asks for.

    Raises:
        InvalidArgument: they are neither.
    """
    if source.weak and source.is_number and source.shape == geometry.logits and (
            kind.takes_probabilities):
        return taken_as(source, _dtypes.companion(geometry.dtype))
    if source.is_integer:
        if source.shape != geometry.positions:
            raise _misshapen_labels(source.shape, geometry)
        return ready(source)
    if source.shape == geometry.positions and source.array.size == 0:
        # An empty list and its like: there is no label whose type could be wrong.
        return Operand(np.empty(source.shape, _dtypes.stored("int64")), "int64")
    if not kind.takes_probabilities:
        fault = invalid if source.is_number else invalid_type
        raise fault("target.dtype", "DTYPE_MISMATCH", "expected class indices of an integer type "
                    f"for {kind.name}, got {source.dtype} of shape {source.shape}")
    if source.dtype not in _dtypes.FLOATS or source.shape != geometry.logits:
        raise _neither(source, geometry)
    return _companion(source, geometry)


def take_weight(source: Source, geometry: Geometry) -> Operand:
    """A weight for each class.

    Raises:
        InvalidArgument: its type or its shape does not fit.
    """
    if source.shape != (geometry.classes,):
        raise invalid("weight.shape", "SHAPE_MISMATCH",
                      f"expected {(geometry.classes,)}, one weight for each class at axis "
                      f"{geometry.axis} of the input; got {source.shape}")
    return _companion(source, geometry)


def take_grad_output(source: Source, geometry: Geometry, options: Options) -> Operand:
    """The incoming gradient.

    Raises:
        InvalidArgument: its type or its shape does not fit, or no gradient is wanted.
    """
    if not (options.grad or options.grad_target or options.grad_weight):
        raise invalid("grad_output", "GRAD_OUTPUT_UNUSED",
                      "expected grad=True, or another gradient, where grad_output is given")
    expected = loss_shape(geometry, options)
    if source.shape != expected:
        raise invalid("grad_output.shape", "SHAPE_MISMATCH",
                      f"expected {expected}, the shape of the loss with reduction "
                      f'"{options.reduction}"; got {source.shape}')
    return _companion(source, geometry)


def loss_shape(geometry: Geometry, options: Options) -> Shape:
    """The shape of the loss."""
    return geometry.positions if options.reduction == "none" else ()


def _companion(source: Source, geometry: Geometry) -> Operand:
    """A weight, probabilities or an incoming gradient, in a type that goes with the logits'."""
    wanted = _dtypes.companion(geometry.dtype)
    if source.weak and source.is_number:
        return taken_as(source, wanted)
    if source.dtype in (geometry.dtype, wanted):
        return ready(source)
    either = wanted if wanted == geometry.dtype else f"{geometry.dtype} or {wanted}"
    fault = invalid if source.is_number else invalid_type
    raise fault(f"{source.name}.dtype", "DTYPE_MISMATCH", f"expected {either} beside an input of "
                f"{geometry.dtype}, got {source.dtype}; convert it to {wanted}")


def _misshapen_labels(got: Shape, geometry: Geometry) -> InvalidArgument:
    axis = geometry.axis
    words = (f"expected {geometry.positions} for class indices, the input's {geometry.logits} "
             f"without its axis {axis} (class_axis={axis}); got {got}")
    if got == geometry.logits:
        words += "; probabilities have to be of a floating type"
    last = len(geometry.logits) - 1
    # The last axis first: it is where most other libraries have the classes.
    others = [-1 if other == last else other for other in range(last, -1, -1)
              if other != axis and geometry.without(other) == got]
    if others:
        words += f"; where the classes are at another axis, say class_axis={others[0]}"
    return invalid("target.shape", "SHAPE_MISMATCH", words)


def _neither(source: Source, geometry: Geometry) -> InvalidArgument:
    """The error for a target that is neither class indices nor probabilities."""
    words = ("class indices must be of an integer type, or probabilities of shape "
             f"{geometry.logits}; got {source.dtype} of shape {source.shape}")
    if source.dtype in ("float32", "float64", "float16"):
        gaps = np.argwhere(np.isnan(source.array))
        if len(gaps):
            words += (f", NaN at target{place(tuple(int(i) for i in gaps[0]))}: fill gaps with "
                      "ignore_index, then convert to an integer type")
    if not source.is_number:
        return invalid_type("target", "DTYPE_UNSUPPORTED", words)
    of_labels = source.shape == geometry.positions
    return invalid("target", "DTYPE_MISMATCH" if of_labels else "SHAPE_MISMATCH", words)
