"""EvaluateStream from the client's side: messages go out while outputs come in."""

import numpy as np

from . import _tensors
from .v1 import service_pb2

CHUNK_BYTES = 1 << 20


def messages(header, input, target, grad_output, chunk_bytes):
    """The messages of one problem, in an order that the server accepts: class indices first, then the
    input with the companions that go along with it in step."""
    yield service_pb2.EvaluateStreamRequest(header=header)
    indices = target.dtype.kind in "iu"
    if indices:
        for piece in _tensors.chunks(target, chunk_bytes):
            yield service_pb2.EvaluateStreamRequest(target=bytes(piece))
    companions = {}
    if not indices:
        companions["target"] = memoryview(target.reshape(-1).view(np.uint8))
    if grad_output is not None:
        companions["grad_output"] = memoryview(grad_output.reshape(-1).view(np.uint8))
    sent = dict.fromkeys(companions, 0)
    data = memoryview(input.reshape(-1).view(np.uint8))
    if not data:
        yield service_pb2.EvaluateStreamRequest(
            **{name: bytes(piece) for name, piece in companions.items()})
    for begin in range(0, len(data), chunk_bytes):
        end = min(begin + chunk_bytes, len(data))
        fields = {"input": bytes(data[begin:end])}
        for name, piece in companions.items():
            # A scalar goes at once; the others as far as the input.
            stop = len(piece) if len(piece) <= 8 else len(piece) * end // len(data)
            fields[name] = bytes(piece[sent[name]:stop])
            sent[name] = stop
        yield service_pb2.EvaluateStreamRequest(**fields)


class Outputs:
    """Arrays of known shape that fill up as replies come."""

    _FIELDS = ("loss", "log_sum_exp", "grad_weight", "grad_target", "grad_input")

    def __init__(self, arrays):
        self.arrays = arrays
        self._views = {name: memoryview(array.reshape(-1).view(np.uint8))
                       for name, array in arrays.items()}
        self._filled = dict.fromkeys(arrays, 0)
        self.summary = None

    def take(self, reply):
        """Copies what a reply brings to its place."""
        for name in self._FIELDS:
            piece = getattr(reply, name)
            if not piece:
                continue
            begin = self._filled[name]
            self._views[name][begin:begin + len(piece)] = piece
            self._filled[name] = begin + len(piece)
        if reply.HasField("summary"):
            self.summary = reply.summary

    def check(self):
        """Raises where something is missing."""
        short = [name for name, view in self._views.items() if self._filled[name] != len(view)]
        if short or self.summary is None:
            raise RuntimeError(f"the server's reply is cut short: {short or 'no summary'}")
