"""A problem: operands and options that fit each other, and the messages that carry them."""

from dataclasses import dataclass
from typing import Any

from . import _arrays, _dtypes, _shapes
from ._arrays import Operand
from ._exceptions import invalid
from ._options import Options
from ._shapes import Geometry, Shape
from .v1 import criterion_pb2, service_pb2, tensor_pb2


@dataclass(frozen=True)
class Spec:
    """Shape and type of an array to come."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Problem:
    """One problem, checked."""

    options: Options
    geometry: Geometry
    input: Operand
    target: Operand
    weight: Operand | None
    grad_output: Operand | None

    @classmethod
    def checked(cls, input: Any, target: Any, weight: Any, grad_output: Any,
                options: Options) -> "Problem":
        """A problem from what a caller gave.

        Raises:
            InvalidArgument: something is of a wrong type or shape.
        """
        logits = _shapes.take_input(_arrays.read(input, "input"))
        geometry = _shapes.find_classes(logits, options.class_axis)
        problem = cls(
            options, geometry, logits,
            target=_shapes.take_target(_arrays.read(target, "target"), geometry, options.kind),
            weight=(None if weight is None
                    else _shapes.take_weight(_arrays.read(weight, "weight"), geometry)),
            grad_output=(None if grad_output is None else _shapes.take_grad_output(
                _arrays.read(grad_output, "grad_output"), geometry, options)))
        problem._check_outputs()
        return problem

    @property
    def has_labels(self) -> bool:
        """True where the target is class indices."""
        return self.target.dtype in _dtypes.INTEGERS

    @property
    def nbytes(self) -> int:
        """Bytes of all operands."""
        operands = (self.input, self.target, self.weight, self.grad_output)
        return sum(operand.nbytes for operand in operands if operand is not None)

    def request(self) -> service_pb2.EvaluateRequest:
        """The problem as one message."""
        grad = None if self.grad_output is None else _tensor(self.grad_output)
        return service_pb2.EvaluateRequest(
            criterion=self._criterion(None if self.weight is None else _tensor(self.weight)),
            outputs=self.options.outputs(), grad_output=grad,
            input=_tensor(self.input), target=_tensor(self.target))

    def header(self, weight_inside: bool) -> service_pb2.EvaluateStreamHeader:
        """The header of a stream; the weight's bytes follow it unless they are inside."""
        weight = None
        if self.weight is not None:
            weight = _tensor(self.weight) if weight_inside else tensor_pb2.Tensor(
                dtype=_dtypes.wire(self.weight.dtype), shape=self.weight.shape)
        grad = None if self.grad_output is None else _spec(self.grad_output)
        return service_pb2.EvaluateStreamHeader(
            criterion=self._criterion(weight), outputs=self.options.outputs(), grad_output=grad,
            input=_spec(self.input), target=_spec(self.target))

    def wanted(self) -> dict[str, Spec]:
        """The arrays that the answer has to bring, by the names of EvaluateResponse's fields."""
        options, positions = self.options, self.geometry.positions
        loss = _dtypes.loss(self.input.dtype)
        wanted = {"loss": Spec(_shapes.loss_shape(self.geometry, options), loss)}
        if options.log_sum_exp:
            wanted["log_sum_exp"] = Spec(positions, loss)
        if options.grad:
            wanted["grad_input"] = Spec(self.input.shape, self.input.dtype)
        if options.grad_target:
            wanted["grad_target"] = Spec(self.target.shape, self.target.dtype)
        if options.grad_weight and self.weight is not None:
            wanted["grad_weight"] = Spec(self.weight.shape, self.weight.dtype)
        return wanted

    def _criterion(self, weight: tensor_pb2.Tensor | None) -> criterion_pb2.Criterion:
        criterion = self.options.criterion()
        if weight is not None:
            getattr(criterion, self.options.kind.name).weight.CopyFrom(weight)
        return criterion

    def _check_outputs(self) -> None:
        """Refuses outputs that cannot be."""
        if self.options.grad_target and self.has_labels:
            raise invalid("grad_target", "GRAD_TARGET_OF_CLASS_INDEX",
                          "expected a probability target: class indices have no gradient")
        if self.options.grad_weight and self.weight is None:
            raise invalid("grad_weight", "GRAD_WEIGHT_WITHOUT_WEIGHT",
                          "expected weight to be given where its gradient is wanted")


def _tensor(operand: Operand) -> tensor_pb2.Tensor:
    return tensor_pb2.Tensor(dtype=_dtypes.wire(operand.dtype), shape=operand.shape,
                             raw=operand.array.tobytes())


def _spec(operand: Operand) -> tensor_pb2.TensorSpec:
    return tensor_pb2.TensorSpec(dtype=_dtypes.wire(operand.dtype), shape=operand.shape)
