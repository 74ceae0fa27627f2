"""Calls of the server with jax's arrays."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from .. import Client, _handles, _shapes
from .._arrays import Operand, Source
from .._criteria import CROSS_ENTROPY
from .._dtypes import Array, loss
from .._options import Options

# Arguments of Client.cross_entropy, and fields of its result.
_GRADIENTS = {"logits": "grad", "target": "grad_target", "weight": "grad_weight"}


@dataclass(frozen=True)
class Problem:
    """A problem without its arrays. Can be hashed, as jax wants it.

    Attributes:
        options: the arguments of Client.cross_entropy, as pairs.
        loss: shape and type of the loss.
        client: where it is evaluated, None for the default.
    """

    options: tuple[tuple[str, Any], ...]
    loss: tuple[tuple[int, ...], str]
    client: Client | None

    @classmethod
    def checked(cls, logits: Any, target: Any, weight: Any, ignore_index: Any, reduction: Any,
                label_smoothing: Any, class_axis: Any, client: Client | None) -> "Problem":
        """The problem of a caller. Types and shapes are checked here, where jax has no elements.

        Raises:
            InvalidArgument: something does not fit.
        """
        options = Options.checked(
            CROSS_ENTROPY, ignore_index=ignore_index, reduction=reduction,
            label_smoothing=label_smoothing, class_axis=class_axis, grad=False, grad_target=False,
            grad_weight=False, log_sum_exp=False, top_k=0, empty_mean="nan", normalizer=None)
        checked = _shapes.take_input(_stand_in(logits, "input"))
        geometry = _shapes.find_classes(Operand(checked.array, checked.dtype), options.class_axis)
        _shapes.take_target(_stand_in(target, "target"), geometry, CROSS_ENTROPY)
        if weight is not None:
            _shapes.take_weight(_stand_in(weight, "weight"), geometry)
        return cls((("ignore_index", options.ignore_index), ("reduction", options.reduction),
                    ("label_smoothing", options.label_smoothing),
                    ("class_axis", options.class_axis)),
                   (_shapes.loss_shape(geometry, options), loss(geometry.dtype)), client)

    def at_once(self, dtype: Any) -> bool:
        """Whether gradients for an incoming gradient of one, times the real one, are right.

        With "none" it differs by position. In float16 a small gradient of a mean is 0 before a loss
        scale of thousands, which is there to prevent that, would reach it.
        """
        reduced = dict(self.options)["reduction"] != "none"
        return bool(reduced) and np.dtype(dtype).name != "float16"


def call(problem: Problem, wanted: tuple[str, ...], logits: Any, target: Any, weight: Any,
         incoming: Any = None) -> tuple[Any, ...]:
    """The loss, and the gradients that are wanted.

    Args:
        wanted: those of "logits", "target" and "weight" whose gradients are.
        incoming: incoming gradient, None for ones.
    """
    arrays = {"logits": logits, "target": target, "weight": weight, "incoming": incoming}
    given = {name: array for name, array in arrays.items() if array is not None}
    shapes = (jax.ShapeDtypeStruct(*problem.loss), *(
        jax.ShapeDtypeStruct(given[name].shape, given[name].dtype) for name in wanted))

    def evaluate(given: dict[str, Any]) -> tuple[Array, ...]:
        return _evaluate(problem, wanted, {name: np.asarray(one) for name, one in given.items()})

    if any(isinstance(array, jax.core.Tracer) for array in given.values()):
        traced: tuple[Any, ...] = jax.pure_callback(evaluate, shapes, given,
                                                    vmap_method="sequential")
        return traced
    # Without a callback an error stays what it is.
    return tuple(jax.numpy.asarray(one) for one in evaluate(given))


def _evaluate(problem: Problem, wanted: tuple[str, ...],
              given: dict[str, Array]) -> tuple[Array, ...]:
    client = _handles.find(_handles.DEFAULT) if problem.client is None else problem.client
    options: dict[str, Any] = {**dict(problem.options), "weight": given.get("weight"),
                               "grad_output": given.get("incoming"),
                               **{_GRADIENTS[name]: True for name in wanted}}
    result = client.cross_entropy(given["logits"], given["target"], **options)
    return result.loss, *(getattr(result, _GRADIENTS[name]) for name in wanted)


def _stand_in(array: Any, name: str) -> Source:
    """An array of this shape and type, since jax may have no elements yet. Its zeros are memory
    that nobody touches, and that the system therefore does not give."""
    dtype = np.dtype(array.dtype)
    stored = np.dtype(np.uint16) if dtype.name == "bfloat16" else dtype
    return Source(name, np.zeros(array.shape, stored), dtype.name, weak=False)
