"""The options of a problem: checked, under the names that callers know, and as messages."""

import math
from dataclasses import dataclass
from typing import Any

from . import _scalars
from ._criteria import Kind
from ._exceptions import describe, invalid
from .v1 import criterion_pb2

REDUCTIONS = ("none", "sum", "mean")
_INT32 = (-(1 << 31), (1 << 31) - 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)
_UINT32 = (0, (1 << 32) - 1)


@dataclass(frozen=True)
class Options:
    """A loss, and those arguments of its call that are no arrays, as Client describes them."""

    kind: Kind
    ignore_index: int
    reduction: str
    label_smoothing: float
    class_axis: int
    grad: bool
    grad_target: bool
    grad_weight: bool
    log_sum_exp: bool
    top_k: int
    empty_mean: str
    normalizer: float | None

    @classmethod
    def checked(cls, kind: Kind, *, ignore_index: Any, reduction: Any, label_smoothing: Any,
                class_axis: Any, grad: Any, grad_target: Any, grad_weight: Any, log_sum_exp: Any,
                top_k: Any, empty_mean: Any, normalizer: Any) -> "Options":
        """Options from what a caller gave.

        Raises:
            InvalidArgument: one is of a wrong kind or outside its range, whatever the arrays are.
        """
        reduction = _scalars.choice(reduction, "reduction", REDUCTIONS)
        return cls(
            kind,
            ignore_index=_scalars.integer(ignore_index, "ignore_index", *_INT64),
            reduction=reduction,
            label_smoothing=_share(label_smoothing),
            class_axis=_scalars.integer(class_axis, "class_axis", *_INT32),
            grad=_scalars.switch(grad, "grad"),
            grad_target=_scalars.switch(grad_target, "grad_target"),
            grad_weight=_scalars.switch(grad_weight, "grad_weight"),
            log_sum_exp=_scalars.switch(log_sum_exp, "log_sum_exp"),
            top_k=_scalars.integer(top_k, "top_k", *_UINT32),
            empty_mean=_scalars.choice(empty_mean, "empty_mean", ("nan", "zero")),
            normalizer=None if normalizer is None else _divisor(normalizer, reduction))

    def criterion(self) -> criterion_pb2.Criterion:
        """All of it but the weight."""
        own: dict[str, Any] = {
            "ignore_index": self.ignore_index,
            # The protocol's own default is axis 1 too, and knows inputs of one dimension.
            "class_axis": None if self.class_axis == 1 else self.class_axis,
        }
        if self.kind.smooths:
            own["label_smoothing"] = self.label_smoothing
        kind: dict[str, Any] = {self.kind.name: self.kind.message(**own)}
        return criterion_pb2.Criterion(
            reduction=f"REDUCTION_{self.reduction.upper()}",
            empty_mean=f"EMPTY_MEAN_{self.empty_mean.upper()}",
            normalizer=self.normalizer, **kind)

    def outputs(self) -> criterion_pb2.Outputs:
        """The wanted results."""
        return criterion_pb2.Outputs(grad_input=self.grad, grad_target=self.grad_target,
                                     grad_weight=self.grad_weight, log_sum_exp=self.log_sum_exp,
                                     top_k=self.top_k)


def _share(value: Any) -> float:
    expected = "a number in [0, 1]"
    share = _scalars.number(value, "label_smoothing", expected)
    if not 0 <= share <= 1:
        raise invalid("label_smoothing", "LABEL_SMOOTHING_RANGE",
                      f"expected {expected}, got {describe(value)}")
    return share


def _divisor(value: Any, reduction: str) -> float:
    expected = "a finite number other than 0"
    divisor = _scalars.number(value, "normalizer", expected)
    if not math.isfinite(divisor) or divisor == 0:
        raise invalid("normalizer", "NORMALIZER_RANGE",
                      f"expected {expected}, got {describe(value)}")
    if reduction != "mean":
        raise invalid("normalizer", "NORMALIZER_WITHOUT_MEAN",
                      f'expected None unless the reduction is "mean"; it is "{reduction}"')
    return divisor
