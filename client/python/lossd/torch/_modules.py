"""The losses as modules. They derive from torch's own, which keep the arguments."""

import torch

from .. import Client
from . import functional


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """torch.nn.CrossEntropyLoss on a lossd server.

    Args:
        weight: (C), a weight for each class, of the input's type; its gradient exists too.
        size_average: deprecated; with reduce it stands for a reduction, as torch's warning says.
        ignore_index: label whose positions neither count nor get a gradient.
        reduce: deprecated; see size_average.
        reduction: "none", "sum" or "mean".
        label_smoothing: in [0, 1].
        client: a lossd.Client; None for that of the address in LOSSD_ADDRESS. A copy of the module
            shares it; to be pickled, a module must have None.

    Calls, their shapes, types and errors are those of lossd.torch.functional.cross_entropy.
    """

    def __init__(self, weight: torch.Tensor | None = None, size_average: bool | None = None,
                 ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
                 label_smoothing: float = 0.0, *, client: Client | None = None) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        self.client = client

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss; see lossd.torch.functional.cross_entropy."""
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing, client=self.client)


class NLLLoss(torch.nn.NLLLoss):
    """torch.nn.NLLLoss on a lossd server. Arguments are those of CrossEntropyLoss, without label
    smoothing; calls are those of lossd.torch.functional.nll_loss."""

    def __init__(self, weight: torch.Tensor | None = None, size_average: bool | None = None,
                 ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
                 *, client: Client | None = None) -> None:
        super().__init__(weight, size_average, ignore_index, reduce, reduction)
        self.client = client

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss; see lossd.torch.functional.nll_loss."""
        return functional.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            client=self.client)
