"""Losses of torch whose values and gradients come from a lossd server.

Drop-ins for torch.nn.CrossEntropyLoss and torch.nn.NLLLoss, and in lossd.torch.functional for
their functions. ``client=None`` is one client of the process for the address in the environment
variable LOSSD_ADDRESS, else 127.0.0.1:50051.
"""

from . import functional
from ._modules import CrossEntropyLoss, NLLLoss

__all__ = ["CrossEntropyLoss", "NLLLoss", "functional"]
