"""The losses: their messages, and what each one takes."""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from .v1 import criterion_pb2


@dataclass(frozen=True)
class Kind:
    """A loss.

    Attributes:
        name: of its field in lossd.v1.Criterion.
        message: makes a message of that field's type.
        smooths: whether it has label smoothing.
        takes_probabilities: whether a target may be probabilities.
    """

    name: str
    message: Callable[..., Message]
    smooths: bool
    takes_probabilities: bool


CROSS_ENTROPY = Kind("cross_entropy", criterion_pb2.CrossEntropy, smooths=True,
                     takes_probabilities=True)
NLL_LOSS = Kind("nll_loss", criterion_pb2.NllLoss, smooths=False, takes_probabilities=False)
