"""The messages of EvaluateStream, and how large messages may be."""

from collections.abc import Iterator

from ._problem import Problem
from .v1 import service_pb2

CHUNK_BYTES = 1 << 20

# Every server takes messages of this size: its flag goes no lower.
_SMALLEST_LIMIT = 1 << 16

# Room in a message for all that is not data: tags, lengths, and a header without its weight.
_OVERHEAD = 1 << 12

# Data of this size fits a message of every server. A class weight of this size goes in the header.
ALWAYS_FITS = _SMALLEST_LIMIT - _OVERHEAD


def most_data(max_message_bytes: int) -> int:
    """How much data fits a message of a server with this limit (0: unknown)."""
    return max(max_message_bytes - _OVERHEAD, ALWAYS_FITS)


def messages(problem: Problem, chunk_bytes: int) -> Iterator[service_pb2.EvaluateStreamRequest]:
    """The messages of one problem, in an order that every server accepts: the header, a large
    weight, class indices, then the input with the companions that go along with it in step.

    Args:
        problem: the problem.
        chunk_bytes: data in a message, all operands together. Rounding adds a few bytes.
    """
    Request = service_pb2.EvaluateStreamRequest
    weight = problem.weight
    inside = weight is None or weight.nbytes <= ALWAYS_FITS
    yield Request(header=problem.header(weight_inside=inside))
    if weight is not None and not inside:
        for piece in _pieces(weight.view(), chunk_bytes):
            yield Request(weight=piece)
    if problem.has_labels:
        for piece in _pieces(problem.target.view(), chunk_bytes):
            yield Request(target=piece)
    yield from _in_step(problem, chunk_bytes)


def _in_step(problem: Problem, chunk_bytes: int) -> Iterator[service_pb2.EvaluateStreamRequest]:
    """The input, and beside each piece of it the same share of its companions."""
    data = problem.input.view()
    companions: dict[str, memoryview] = {}
    if not problem.has_labels:
        companions["target"] = problem.target.view()
    if problem.grad_output is not None:
        companions["grad_output"] = problem.grad_output.view()
    total = len(data) + sum(map(len, companions.values()))
    step = max(1, chunk_bytes * len(data) // max(1, total))
    sent = dict.fromkeys(companions, 0)
    # An input without elements: its companions go all the same.
    for begin in range(0, max(1, len(data)), step):
        end = min(begin + step, len(data))
        shares = dict.fromkeys(companions, b"")
        for name, piece in companions.items():
            # A scalar goes at once; the others as far as the input.
            whole = len(piece) <= 8 or end == len(data)
            stop = len(piece) if whole else len(piece) * end // len(data)
            shares[name] = bytes(piece[sent[name]:stop])
            sent[name] = stop
        yield service_pb2.EvaluateStreamRequest(input=bytes(data[begin:end]),
                                                target=shares.get("target"),
                                                grad_output=shares.get("grad_output"))


def _pieces(data: memoryview, size: int) -> Iterator[bytes]:
    for begin in range(0, len(data), size):
        yield bytes(data[begin:begin + size])
