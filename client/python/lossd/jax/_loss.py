"""The loss as a function of jax: custom_vjp over a callback to the host."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from .. import Client
from . import _wire
from ._wire import Problem


def cross_entropy(logits: Any, target: Any, *, weight: Any = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0, class_axis: int = 1,
                  client: Client | None = None) -> jax.Array:
    """torch.nn.functional.cross_entropy on a lossd server, for jax.

    Logits, probabilities and weight have gradients, of first order. Works under jit, grad and
    value_and_grad; vmap makes one call after the other. With reduction "mean" or "sum" the gradient
    comes with the loss, in one call. With "none", and for float16, the backward pass makes a second
    one, with the incoming gradient.

    Args:
        logits: float32, float64, float16 or bfloat16, of any shape with the classes at class_axis.
        target: class indices of any integer type, of the logits' shape without class_axis; or
            probabilities of the logits' shape, and of their type or float32 beside a half.
        weight: (C), a weight for each class, of the logits' type or float32 beside a half.
        ignore_index: label whose positions neither count nor get a gradient.
        reduction: "none", "sum" or "mean".
        label_smoothing: in [0, 1].
        class_axis: axis of the classes, negative from the end; logits of one dimension take 1 for
            0. Flax and most models of jax have the classes last: -1.
        client: a lossd.Client; None for one of the process, for the address in LOSSD_ADDRESS, else
            127.0.0.1:50051.

    Returns:
        The loss: a scalar, or one for each position with "none"; float32 for halves, else of the
        logits' type.

    Raises:
        lossd.InvalidArgument: the shapes, types or options are not valid, under jit too.
        lossd.LossdError: the call failed. Under jit and vmap jax raises an error of its own, which
            has the text of this one.
        TypeError: a second derivative, or one in forward mode, was asked for.
    """
    logits, target = jnp.asarray(logits), jnp.asarray(target)
    weight = None if weight is None else jnp.asarray(weight)
    problem = Problem.checked(logits, target, weight, ignore_index, reduction, label_smoothing,
                              class_axis, client)
    loss: jax.Array = _loss(problem, logits, target, weight)
    return loss


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(problem: Problem, logits: Any, target: Any, weight: Any) -> Any:
    return _wire.call(problem, (), logits, target, weight)[0]


def _forward(problem: Problem, *primals: Any) -> Any:
    wanted = tuple(name for name, primal in zip(("logits", "target", "weight"), primals,
                                                strict=True)
                   if primal is not None and primal.perturbed
                   and jnp.issubdtype(primal.value.dtype, jnp.floating))
    values: tuple[Any, ...] = tuple(None if primal is None else primal.value
                                    for primal in primals)
    if not problem.at_once(values[0].dtype):
        # Names are kept as keys: jax takes no strings for values.
        return _first_order(problem, (), *values)[0], (values, dict.fromkeys(wanted))
    loss, *gradients = _first_order(problem, wanted, *values)
    return loss, (None, dict(zip(wanted, gradients, strict=True)))


def _backward(problem: Problem, residuals: Any, incoming: Any) -> Any:
    values, gradients = residuals
    if isinstance(incoming, jax.custom_derivatives.SymbolicZero):
        return None, None, None
    if values is not None:
        _, *arrays = _first_order(problem, tuple(gradients), *values, incoming)
        gradients = dict(zip(gradients, arrays, strict=True))
    else:
        gradients = {name: (one.astype(incoming.dtype) * incoming).astype(one.dtype)
                     for name, one in gradients.items()}
    return tuple(gradients.get(name) for name in ("logits", "target", "weight"))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _first_order(problem: Problem, wanted: tuple[str, ...], *arrays: Any) -> Any:
    """The call, and a clear word where its result is to be differentiated in turn."""
    return _wire.call(problem, wanted, *arrays)


@_first_order.defjvp
def _(problem: Problem, wanted: tuple[str, ...], primals: Any, tangents: Any) -> Any:
    raise TypeError("lossd gives first derivatives only: the gradient of lossd.jax.cross_entropy "
                    "cannot be differentiated again")


_loss.defvjp(_forward, _backward, symbolic_zeros=True)
