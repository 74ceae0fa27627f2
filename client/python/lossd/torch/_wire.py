"""Calls of the server with torch's tensors."""

import torch

from .. import _handles
from .._dtypes import Array

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def call(kind: str, input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None,
         grad_output: torch.Tensor | None, reduction: str, ignore_index: int,
         label_smoothing: float, handle: str, of_input: bool, of_target: bool, of_weight: bool,
         ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss in the input's type, and the gradients of input, target and weight; an empty tensor
    for each that is not wanted. Each is on the device of its own tensor.

    Args:
        grad_output: incoming gradient, None for ones.
        handle: the client's, as _handles has it.
        of_input, of_target, of_weight: which gradients are wanted.

    Raises:
        LossdError: the problem is not valid, or the call failed.
    """
    client = _handles.find(handle)
    options = {"weight": weight, "ignore_index": ignore_index, "reduction": reduction,
               "grad": of_input, "grad_weight": of_weight}
    if of_input or of_target or of_weight:
        options["grad_output"] = grad_output
    if kind == "cross_entropy":
        result = client.cross_entropy(input, target, label_smoothing=label_smoothing,
                                      grad_target=of_target, **options)
    else:
        result = client.nll_loss(input, target, **options)
    return (_tensor(result.loss, input, input.dtype), _tensor(result.grad, input, input.dtype),
            _tensor(result.grad_target, target, target.dtype),
            _tensor(result.grad_weight, input if weight is None else weight, input.dtype))


def fakes(input: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, of_input: bool,
          of_target: bool, of_weight: bool) -> Tensors:
    """Gradients as call() gives them, without elements that mean anything."""
    weight = input if weight is None else weight
    return tuple(  # type: ignore[return-value]
        tensor.new_empty(tensor.shape if wanted else [0])
        for tensor, wanted in ((input, of_input), (target, of_target), (weight, of_weight)))


def _tensor(array: Array | None, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """An array of a result as a tensor of a type, on the device of another tensor."""
    if array is None:
        return torch.empty([0], dtype=dtype, device=like.device)
    if dtype == torch.bfloat16 and array.dtype.itemsize == 2:
        tensor = torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array)
    return tensor.to(device=like.device, dtype=dtype)
