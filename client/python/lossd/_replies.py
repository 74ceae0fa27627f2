"""Answers of a server, measured against the question before they are believed."""

import math

import numpy as np

from . import _dtypes
from ._dtypes import Array
from ._exceptions import unexpected
from ._problem import Problem, Spec
from ._result import Combined, LossResult
from .v1 import criterion_pb2, service_pb2, tensor_pb2

_OUTPUTS = ("loss", "log_sum_exp", "grad_weight", "grad_target", "grad_input")


def from_response(response: service_pb2.EvaluateResponse, problem: Problem) -> LossResult:
    """The result of a problem that went as one message.

    Raises:
        UnexpectedReply: an output is missing or of another type, shape or length.
    """
    arrays = {}
    for name, spec in problem.wanted().items():
        if not response.HasField(name):
            raise unexpected(f"{name} is missing")
        arrays[name] = _from_tensor(getattr(response, name), spec, name)
    _check_summary(response, problem)
    return LossResult.of(arrays, response.summary)


class StreamOutputs:
    """Arrays of known shape that fill up as replies come."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._arrays = {name: _empty(spec) for name, spec in problem.wanted().items()}
        self._views = {name: array.reshape(-1).view(np.uint8).data
                       for name, array in self._arrays.items()}
        self._filled = dict.fromkeys(self._arrays, 0)
        self._last: service_pb2.EvaluateStreamResponse | None = None

    def take(self, reply: service_pb2.EvaluateStreamResponse) -> None:
        """Copies the bytes of a reply to their places.

        Raises:
            UnexpectedReply: an output was not asked for, or is longer than it can be; or the last
                reply came already.
        """
        if self._last is not None:
            raise unexpected("something follows the summary")
        for name in _OUTPUTS:
            piece = getattr(reply, name)
            if not piece:
                continue
            begin = self._filled.get(name, 0)
            end = begin + len(piece)
            room = len(self._views[name]) if name in self._views else 0
            if end > room:
                raise unexpected(f"{name} has at least {end} bytes, expected {room}")
            self._views[name][begin:end] = piece
            self._filled[name] = end
        if reply.HasField("summary"):
            self._last = reply

    def result(self) -> LossResult:
        """The result, once the call has ended with OK.

        Raises:
            UnexpectedReply: something is missing.
        """
        for name, view in self._views.items():
            if self._filled[name] != len(view):
                raise unexpected(f"{name} is cut short: {self._filled[name]} bytes, expected "
                                 f"{len(view)}")
        if self._last is None:
            raise unexpected("summary is missing")
        _check_summary(self._last, self._problem)
        return LossResult.of(self._arrays, self._last.summary)


def from_combined(response: service_pb2.CombineResponse) -> Combined:
    """The answer of Combine.

    Raises:
        UnexpectedReply: it has no summary, or a loss that is no number.
    """
    if not response.HasField("summary"):
        raise unexpected("summary is missing")
    summary = response.summary
    if not response.HasField("loss"):
        if summary.criterion.reduction != criterion_pb2.REDUCTION_NONE:
            raise unexpected("loss is missing")
        return Combined(summary, None)
    double = response.loss.dtype == tensor_pb2.DATA_TYPE_FLOAT64
    values = (response.loss.double_values if double else response.loss.float_values).values
    if len(values) != 1:
        raise unexpected(f"loss has {len(values)} values, expected 1")
    return Combined(summary, np.array(values[0], np.float64 if double else np.float32))


def _from_tensor(tensor: tensor_pb2.Tensor, spec: Spec, name: str) -> Array:
    dtype, shape = _dtypes.name_of(tensor.dtype), tuple(tensor.shape)
    if (dtype, shape) != (spec.dtype, spec.shape):
        raise unexpected(f"{name} is {dtype or 'of no known type'} of shape {shape}, expected "
                         f"{spec.dtype} of shape {spec.shape}")
    array = _empty(spec)
    if len(tensor.raw) != array.nbytes:
        raise unexpected(f"{name} has {len(tensor.raw)} bytes, expected {array.nbytes}")
    array.reshape(-1).view(np.uint8).data[:] = tensor.raw
    return array


def _empty(spec: Spec) -> Array:
    return np.empty(spec.shape, _dtypes.result(spec.dtype))


def _check_summary(reply: service_pb2.EvaluateResponse | service_pb2.EvaluateStreamResponse,
                   problem: Problem) -> None:
    if not reply.HasField("summary"):
        raise unexpected("summary is missing")
    positions = math.prod(problem.geometry.positions)
    if reply.summary.positions != positions:
        raise unexpected(f"summary.positions is {reply.summary.positions}, expected {positions}")
    if _dtypes.name_of(reply.summary.dtype) != problem.input.dtype:
        raise unexpected(f"summary.dtype is {_dtypes.name_of(reply.summary.dtype)}, expected "
                         f"{problem.input.dtype}")
