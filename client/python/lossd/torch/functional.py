"""cross_entropy and nll_loss with the signatures of torch.nn.functional, on a lossd server."""

import torch
from torch.nn import _reduction

from .. import Client
from .._exceptions import invalid, invalid_type
from .._handles import DEFAULT
from ._ops import evaluate

_REDUCTIONS = ("none", "mean", "sum")  # By torch's numbers.


def cross_entropy(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None,
                  size_average: bool | None = None, ignore_index: int = -100,
                  reduce: bool | None = None, reduction: str = "mean",
                  label_smoothing: float = 0.0, *, client: Client | None = None) -> torch.Tensor:
    """torch.nn.functional.cross_entropy on a lossd server.

    Tensors may lie on any device: they are copied to the host, and gradients back. Input,
    probability target and weight have gradients; second derivatives are refused. With reduction
    "mean" or "sum" the gradient comes with the loss, in one call. With "none", and for float16,
    backward() makes a second one, with the incoming gradient. Works under torch.compile and
    autocast, where all but float64 becomes float32, as torch has it.

    Args:
        input: logits (C), (N, C) or (N, C, d1, ..., dK); float32, float64, float16 or bfloat16.
        target: class indices of any integer type, of the input's shape without its class axis; or
            probabilities of the input's shape.
        weight: (C), a weight for each class. Beside class indices it has the input's type; beside
            probabilities input, target and weight take a common one, as torch has it.
        size_average: deprecated; with reduce it stands for a reduction, as torch's warning says.
        ignore_index: label whose positions neither count nor get a gradient.
        reduce: deprecated; see size_average.
        reduction: "none", "sum" or "mean".
        label_smoothing: in [0, 1].
        client: a lossd.Client; None for one of the process, for the address in LOSSD_ADDRESS.

    Returns:
        The loss: a scalar, or one for each position with reduction "none". It is on the input's
        device and of its type (of the common one beside probabilities), halves included.

    Raises:
        lossd.InvalidArgument: the problem is not valid. It is a ValueError, as most of torch's
            errors about shapes; .field names the argument.
        lossd.LossdError: the call failed; see lossd.Client.cross_entropy. Also from backward().
        ValueError: there is no such reduction.
    """
    return _loss("cross_entropy", input, target, weight, size_average, ignore_index, reduce,
                 reduction, label_smoothing, client)


def nll_loss(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None,
             size_average: bool | None = None, ignore_index: int = -100,
             reduce: bool | None = None, reduction: str = "mean", *,
             client: Client | None = None) -> torch.Tensor:
    """torch.nn.functional.nll_loss on a lossd server. The input holds log-probabilities and the
    target class indices; everything else is as in cross_entropy, without label smoothing."""
    return _loss("nll_loss", input, target, weight, size_average, ignore_index, reduce, reduction,
                 0.0, client)


def _autocasts(device: str) -> bool:
    # Devices without autocast, such as "meta", raise an error where they are asked.
    return bool(torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device))


def _loss(kind: str, input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None,
          size_average: bool | None, ignore_index: int, reduce: bool | None, reduction: str,
          label_smoothing: float, client: Client | None) -> torch.Tensor:
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    reduction = _REDUCTIONS[_reduction.get_enum(reduction)]
    _check_tensors(input, target, weight)
    _check_shapes(kind, input, target, weight)
    if _autocasts(input.device.type):
        input, target, weight = _widened(input), _widened(target), _widened(weight)
    if target.is_floating_point():
        if ignore_index < 0:
            ignore_index = -100  # None of these is a label: torch takes them all.
        input, target, weight = _promoted(input, target, weight)
    elif weight is not None and weight.dtype != input.dtype:
        raise invalid("weight.dtype", "DTYPE_MISMATCH", f"expected {input.dtype}, the input's "
                      f"type, got {weight.dtype}")
    elif input.dim() == 1 and target.dim() == 1:
        target = target.reshape(())  # Torch takes one label of one dimension here.
    handle = DEFAULT if client is None else client._handle
    return evaluate(kind, input, target, weight, reduction, ignore_index, label_smoothing, handle)


def _check_tensors(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> None:
    for name, value in (("input", input), ("target", target), ("weight", weight)):
        if not isinstance(value, torch.Tensor) and (name != "weight" or value is not None):
            raise invalid_type(name, "", f"expected a torch.Tensor, got a {type(value).__name__}")
    if input.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        raise invalid_type("input.dtype", "DTYPE_UNSUPPORTED", "expected float32, float64, float16 "
                           f"or bfloat16, got {input.dtype}")


def _check_shapes(kind: str, input: torch.Tensor, target: torch.Tensor,
                  weight: torch.Tensor | None) -> None:
    """Refuses here what the server would refuse: torch.compile has shapes and no server yet."""
    shape = tuple(input.shape)
    if not shape:
        raise invalid("input.shape", "RANK_MISMATCH",
                      "expected (C), (N, C) or (N, C, d1, ..., dK), got a scalar")
    axis = min(1, len(shape) - 1)
    positions = shape[:axis] + shape[axis + 1:]
    if target.is_floating_point():
        if kind == "nll_loss":
            raise invalid("target.dtype", "DTYPE_MISMATCH", "expected class indices of an integer "
                          f"type, got {target.dtype}")
        expected = shape
    else:
        expected = positions
    got = tuple(target.shape)
    one = len(shape) == 1 and got == (1,)
    if got != expected and not (one and not target.is_floating_point()):
        words = "probabilities" if target.is_floating_point() else "class indices"
        raise invalid("target.shape", "SHAPE_MISMATCH",
                      f"expected {expected} for {words} beside an input of {shape}, got {got}")
    if weight is not None and tuple(weight.shape) != (shape[axis],):
        raise invalid("weight.shape", "SHAPE_MISMATCH", f"expected {(shape[axis],)}, one weight "
                      f"for each class, got {tuple(weight.shape)}")


def _widened(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """As autocast casts the arguments of an operation of float32."""
    if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.float32)


def _promoted(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None,
              ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The three in one type; its gradients go back through the conversions."""
    common = torch.promote_types(input.dtype, target.dtype)
    if weight is not None:
        common = torch.promote_types(common, weight.dtype)
        weight = weight.to(common)
    return input.to(common), target.to(common), weight
