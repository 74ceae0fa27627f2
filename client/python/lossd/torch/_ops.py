"""The operations that call the server, as torch.compile and autograd see them.

lossd::loss gives the loss together with the gradients for an incoming gradient of one, where that
is all that backward() needs. lossd::gradients makes a call of its own with the incoming gradient.
"""

from typing import Any

import torch

from .. import _handles
from . import _wire

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

_TWICE = ("lossd gives first derivatives only: the gradient of a loss of lossd.torch cannot be "
          "differentiated again (double backward)")


def evaluate(kind: str, input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None,
             reduction: str, ignore_index: int, label_smoothing: float,
             handle: str) -> torch.Tensor:
    """The loss of a checked problem, connected to its arguments."""
    needed = [tensor is not None and tensor.requires_grad and torch.is_grad_enabled()
              for tensor in (input, target, weight)]
    loss: torch.Tensor = _loss(input, target, weight, kind, reduction, ignore_index,
                               label_smoothing, handle, *needed)[0]
    return loss


def _at_once(reduction: str, dtype: torch.dtype) -> bool:
    """Whether gradients for an incoming gradient of one, times the real one, are right.

    With "none" it differs by position. In float16 a small gradient of a mean is 0 before a loss
    scale of thousands, which is there to prevent that, would reach it.
    """
    return reduction != "none" and dtype != torch.float16


@torch.library.custom_op("lossd::loss", mutates_args=())
def _loss(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, kind: str,
          reduction: str, ignore_index: int, label_smoothing: float, handle: str,
          of_input: bool, of_target: bool, of_weight: bool,
          ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    at_once = _at_once(reduction, input.dtype)
    return _wire.call(kind, input, target, weight, None, reduction, ignore_index, label_smoothing,
                      handle, of_input and at_once, of_target and at_once, of_weight and at_once)


@_loss.register_fake
def _(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, kind: str,
      reduction: str, ignore_index: int, label_smoothing: float, handle: str,
      of_input: bool, of_target: bool, of_weight: bool,
      ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    at_once = _at_once(reduction, input.dtype)
    shape = list(input.shape)
    del shape[min(1, len(shape) - 1)]
    loss = input.new_empty(shape if reduction == "none" else [])
    return loss, *_wire.fakes(input, target, weight, of_input and at_once, of_target and at_once,
                              of_weight and at_once)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    input, target, weight, *ctx.options, ctx.of_input, ctx.of_target, ctx.of_weight = inputs
    reduction, handle = ctx.options[1], ctx.options[4]
    ctx.at_once = _at_once(reduction, input.dtype)
    ctx.set_materialize_grads(False)
    if ctx.at_once:
        # Outputs, so that what is made of them leads back to this operation: see _refuse_twice.
        ctx.save_for_backward(*output[1:])
    else:
        ctx.save_for_backward(input, target, weight)
        ctx.client = _handles.find(handle)  # It lives until backward().


def _backward(ctx: Any, grad: torch.Tensor | None, *of_gradients: torch.Tensor | None) -> Any:
    nothing = (None,) * 8
    _refuse_twice(of_gradients)
    if grad is None:
        return None, None, None, *nothing
    needed = ctx.of_input, ctx.of_target, ctx.of_weight
    if ctx.at_once:
        gradients = [one * grad.to(one) for one in ctx.saved_tensors]
    else:
        gradients = _gradients(grad, *ctx.saved_tensors, *ctx.options, *needed)
    return *(one if wanted else None for one, wanted in zip(gradients, needed, strict=True)), *(
        nothing)


def _refuse_twice(of_gradients: tuple[torch.Tensor | None, ...]) -> None:
    if any(one is not None for one in of_gradients):
        raise RuntimeError(_TWICE)


@torch.library.custom_op("lossd::gradients", mutates_args=())
def _gradients(grad: torch.Tensor, input: torch.Tensor, target: torch.Tensor,
               weight: torch.Tensor | None, kind: str, reduction: str, ignore_index: int,
               label_smoothing: float, handle: str, of_input: bool, of_target: bool,
               of_weight: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return _wire.call(kind, input, target, weight, grad, reduction, ignore_index, label_smoothing,
                      handle, of_input, of_target, of_weight)[1:]


@_gradients.register_fake
def _(grad: torch.Tensor, input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None,
      kind: str, reduction: str, ignore_index: int, label_smoothing: float, handle: str,
      of_input: bool, of_target: bool, of_weight: bool) -> Tensors:
    return _wire.fakes(input, target, weight, of_input, of_target, of_weight)


def _backward_twice(ctx: Any, *of_gradients: torch.Tensor | None) -> Any:
    _refuse_twice(of_gradients)
    return (None,) * 12


_loss.register_autograd(_backward, setup_context=_keep)
_gradients.register_autograd(
    _backward_twice, setup_context=lambda ctx, inputs, output: ctx.set_materialize_grads(False))
