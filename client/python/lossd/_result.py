"""The results of calls."""

from dataclasses import dataclass
from typing import NamedTuple

from . import _sums
from ._dtypes import Array
from .v1 import criterion_pb2


@dataclass(frozen=True, eq=False)
class LossResult:
    """The results of one problem. Its arrays are writable and belong to the caller.

    An array of bfloat16 has the type ml_dtypes.bfloat16 where that package can be imported.
    Otherwise it holds the bits of its elements as uint16, the upper halves of float32 numbers:
    ``(grad.astype(numpy.uint32) << 16).view(numpy.float32)`` widens them, and
    ``torch.from_numpy(grad.view(numpy.int16)).view(torch.bfloat16)`` makes a tensor of them.

    Attributes:
        loss: shape (), or one loss for each position with reduction "none"; float64 for float64
            input, else float32.
        grad: gradient of the input, of its shape and type; None unless grad=True.
        grad_target: gradient of a probability target, of its shape and type; None unless asked for.
        grad_weight: gradient of the class weights, of their shape and type; None unless asked for.
        log_sum_exp: log(sum(exp(logits))) of each position, of the loss's type; None unless asked
            for.
        positions: number of positions, ignored ones included.
        ignored: number of ignored positions.
        correct: positions whose class has the greatest logit.
        correct_top_k: positions whose class is among the top_k greatest logits.
        summary: the exact sums (lossd.v1.Summary), for Client.combine.
    """

    loss: Array
    grad: Array | None
    grad_target: Array | None
    grad_weight: Array | None
    log_sum_exp: Array | None
    positions: int
    ignored: int
    correct: int
    correct_top_k: int
    summary: criterion_pb2.Summary

    @classmethod
    def of(cls, arrays: dict[str, Array],
           summary: criterion_pb2.Summary) -> "LossResult":
        """A result from the arrays of an answer, by the names of EvaluateResponse's fields."""
        return cls(loss=arrays["loss"], grad=arrays.get("grad_input"),
                   grad_target=arrays.get("grad_target"), grad_weight=arrays.get("grad_weight"),
                   log_sum_exp=arrays.get("log_sum_exp"), positions=summary.positions,
                   ignored=summary.ignored, correct=summary.correct,
                   correct_top_k=summary.correct_top_k, summary=summary)

    @property
    def normalizer(self) -> float:
        """The natural divisor of reduction "mean", whatever the reduction and the normalizer given:
        the sum of the weights of the positions that count, or for a probability target the number
        of positions. Summed exactly and rounded once.

        Gradients of a batch that comes in micro-batches are those of the whole batch when each is a
        sum and the division comes last:

            grads, divisor = [], 0.0
            for x, y in micro_batches:
                part = client.cross_entropy(x, y, weight=w, reduction="sum", grad=True)
                grads.append(part.grad)
                divisor += part.normalizer
            grad = numpy.concatenate(grads) / numpy.float32(divisor)

        Where the divisor is known beforehand, ``reduction="mean", normalizer=divisor`` gives each
        micro-batch's share, with the bits that one call for the whole batch would give.
        """
        return _sums.to_float(self.summary.normalizer, self.summary.dtype)

    @property
    def loss_sum(self) -> float:
        """The sum of the losses of all positions, whatever the reduction. Summed exactly and
        rounded once."""
        return _sums.to_float(self.summary.loss_sum, self.summary.dtype)


class Combined(NamedTuple):
    """The merged summary of shards, and the loss over all of them.

    Attributes:
        summary: the exact sums (lossd.v1.Summary).
        loss: the reduced loss, of shape (), float64 for float64 inputs, else float32; None with
            reduction "none".
    """

    summary: criterion_pb2.Summary
    loss: Array | None

    @property
    def normalizer(self) -> float:
        """As LossResult.normalizer, over all shards."""
        return _sums.to_float(self.summary.normalizer, self.summary.dtype)

    @property
    def loss_sum(self) -> float:
        """As LossResult.loss_sum, over all shards."""
        return _sums.to_float(self.summary.loss_sum, self.summary.dtype)
