"""The client: one call for a loss, over one message or a stream."""

import functools
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, SupportsFloat, SupportsIndex, overload

import grpc
import numpy as np

from . import _errors, _handles, _many_problem, _replies, _retry, _scalars, _stream
from ._connection import Connection
from ._criteria import CROSS_ENTROPY, NLL_LOSS, Kind
from ._exceptions import (
    DeadlineExceeded,
    LossdError,
    ResourceExhausted,
    Unimplemented,
    describe,
    invalid_type,
    too_large,
)
from ._many import Pipeline
from ._options import Options
from ._problem import Problem
from ._result import Combined, LossResult
from .v1 import criterion_pb2, service_pb2

# More than this goes by stream, where the transport is not chosen.
_UNARY_BYTES = 1 << 20

# No server takes a message above this.
_LARGEST_LIMIT = 1 << 30


class Client:
    """A connection to a lossd server. Safe for use from several threads; also a context manager.

    Args:
        address: "HOST:PORT" or "unix:PATH".
        token: sent as "authorization: Bearer TOKEN"; needs TLS or a Unix socket.
        root_certificates: PEM bytes, or True for the system's; given, the connection uses TLS.
        timeout: seconds that a call may take; None or infinity for no limit.

    Raises:
        InvalidArgument: an argument is of a wrong kind or value; .field is its name.
    """

    def __init__(self, address: str, *, token: str | None = None,
                 root_certificates: bytes | bool | None = None,
                 timeout: SupportsFloat | None = None) -> None:
        self._timeout = _scalars.seconds(timeout, "timeout")
        self._connection = Connection(address, token, root_certificates)
        self._limits: service_pb2.Limits | None = None
        # By which frameworks of arrays find it.
        self._handle = _handles.new(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Client":
        """A copy of what holds a client shares its connection."""
        return self

    def __reduce__(self) -> str:
        raise TypeError("a lossd.Client cannot be pickled: make one in the process that uses it")

    def cross_entropy(self, input: Any, target: Any, *, weight: Any = None,
                      ignore_index: SupportsIndex = -100, reduction: str = "mean",
                      label_smoothing: SupportsFloat = 0.0, class_axis: SupportsIndex = 1,
                      grad: bool | np.bool_ = False, grad_output: Any = None,
                      grad_target: bool | np.bool_ = False, grad_weight: bool | np.bool_ = False,
                      log_sum_exp: bool | np.bool_ = False, top_k: SupportsIndex = 0,
                      empty_mean: str = "nan", normalizer: SupportsFloat | None = None,
                      transport: str = "auto", timeout: SupportsFloat | None = None,
                      chunk_bytes: SupportsIndex = _stream.CHUNK_BYTES) -> LossResult:
        """Evaluates torch.nn.functional.cross_entropy(input, target, ...).

        Arrays may be numpy's, torch's (on any device; gradients are not followed), those of any
        library that numpy can read, numbers, or lists of numbers. Numbers, lists and arrays of no
        dimension have no type of their own: as logits they are float32, as labels integers, and
        beside logits they take the logits' type (float32 beside halves). Other arrays are taken in
        their own type. Masked arrays are refused.

        Args:
            input: logits (C), (N, C) or (N, C, d1, ..., dK); float32, float64, float16 or bfloat16.
            target: class indices of any integer type, of the input's shape without its class axis;
                or probabilities of the input's shape, and of its type or float32 beside a half.
            weight: (C), a weight for each class, of the input's type or float32 beside a half.
            ignore_index: label whose positions neither count nor get a gradient; any int64.
            reduction: "none", "sum" or "mean".
            label_smoothing: in [0, 1].
            class_axis: axis of the classes, negative from the end. An input of one dimension holds
                nothing else: there 1 stands for 0.
            grad: also give the gradient of the input.
            grad_output: incoming gradient, of the loss's shape, and of the input's type or float32
                beside a half; needs a gradient asked for.
            grad_target: also give the gradient of a probability target.
            grad_weight: also give the gradient of the class weights.
            log_sum_exp: also give log(sum(exp(logits))) of each position.
            top_k: above 0, also count the positions whose class is among the k greatest logits;
                below 2^32.
            empty_mean: "nan" or "zero", the mean where no position counts.
            normalizer: divides in place of the sum of weights under "mean"; finite and not 0.
            transport: "auto" (by size), "unary" or "stream".
            timeout: seconds for the whole call, in place of the client's.
            chunk_bytes: bytes of data in one message of a stream, at least 1, all arrays together;
                cut to what the server takes.

        Returns:
            A LossResult.

        Raises:
            InvalidArgument: the problem is not valid; .field names the argument at fault. Also a
                ValueError, and a TypeError (as InvalidType) for an argument of a wrong kind.
            ResourceExhausted, Unavailable, DeadlineExceeded, ...: the call failed. All of them are
                LossdErrors.
        """
        options = Options.checked(
            CROSS_ENTROPY, ignore_index=ignore_index, reduction=reduction,
            label_smoothing=label_smoothing, class_axis=class_axis, grad=grad,
            grad_target=grad_target, grad_weight=grad_weight, log_sum_exp=log_sum_exp, top_k=top_k,
            empty_mean=empty_mean, normalizer=normalizer)
        return self._evaluate(options, input, target, weight, grad_output, transport, timeout,
                              chunk_bytes)

    def nll_loss(self, input: Any, target: Any, *, weight: Any = None,
                 ignore_index: SupportsIndex = -100, reduction: str = "mean",
                 class_axis: SupportsIndex = 1, grad: bool | np.bool_ = False,
                 grad_output: Any = None, grad_weight: bool | np.bool_ = False,
                 log_sum_exp: bool | np.bool_ = False, top_k: SupportsIndex = 0,
                 empty_mean: str = "nan", normalizer: SupportsFloat | None = None,
                 transport: str = "auto", timeout: SupportsFloat | None = None,
                 chunk_bytes: SupportsIndex = _stream.CHUNK_BYTES) -> LossResult:
        """Evaluates torch.nn.functional.nll_loss(input, target, ...).

        The input holds log-probabilities, which are taken as they are: the loss of a position is
        minus the weight of its class times the log-probability of that class.

        Args:
            input: log-probabilities (C), (N, C) or (N, C, d1, ..., dK); float32, float64, float16
                or bfloat16.
            target: class indices of any integer type, of the input's shape without its class axis.

        Everything else is as in cross_entropy: arguments, result and errors.
        """
        options = Options.checked(
            NLL_LOSS, ignore_index=ignore_index, reduction=reduction, label_smoothing=0.0,
            class_axis=class_axis, grad=grad, grad_target=False, grad_weight=grad_weight,
            log_sum_exp=log_sum_exp, top_k=top_k, empty_mean=empty_mean, normalizer=normalizer)
        return self._evaluate(options, input, target, weight, grad_output, transport, timeout,
                              chunk_bytes)

    @overload
    def cross_entropy_many(self, problems: Iterable[Mapping[str, Any]], *,
                           return_exceptions: Literal[False] = False,
                           timeout: SupportsFloat | None = None) -> list[LossResult]: ...

    @overload
    def cross_entropy_many(self, problems: Iterable[Mapping[str, Any]], *,
                           return_exceptions: bool, timeout: SupportsFloat | None = None,
                           ) -> list[LossResult | LossdError]: ...

    def cross_entropy_many(self, problems: Iterable[Mapping[str, Any]], *,
                           return_exceptions: bool = False, timeout: SupportsFloat | None = None,
                           ) -> list[Any]:
        """Evaluates many small problems over one open call, several at a time: many times as fast
        as one call after the other.

        Args:
            problems: mappings of the arguments of cross_entropy, all but transport, timeout and
                chunk_bytes: ``{"input": logits, "target": labels, "grad": True}``. Any iterable; it
                is gone through while answers come, in the calling thread, and 128 problems at most
                are on their way at a time. A problem too large for a message goes alone, by stream.
            return_exceptions: put the error of a problem in its place, as asyncio.gather does,
                instead of raising it. Where the whole call fails, its error stands in the places
                of all problems that have no answer yet.
            timeout: seconds for all problems together, in place of the client's.

        Returns:
            A LossResult for each problem, in the order of the problems; with return_exceptions a
            LossdError for those that failed.

        Raises:
            InvalidArgument: a problem is not valid, and no earlier one has an error; .field names
                its place and the argument at fault: "problems[3].target[17]". What comes after it
                is not evaluated.
            ResourceExhausted, Unavailable, DeadlineExceeded, ...: the call failed. A call that
                breaks is made again with the problems that are not yet answered, as for
                cross_entropy.
        """
        return self._many(CROSS_ENTROPY, problems, return_exceptions, timeout)

    @overload
    def nll_loss_many(self, problems: Iterable[Mapping[str, Any]], *,
                      return_exceptions: Literal[False] = False,
                      timeout: SupportsFloat | None = None) -> list[LossResult]: ...

    @overload
    def nll_loss_many(self, problems: Iterable[Mapping[str, Any]], *, return_exceptions: bool,
                      timeout: SupportsFloat | None = None) -> list[LossResult | LossdError]: ...

    def nll_loss_many(self, problems: Iterable[Mapping[str, Any]], *,
                      return_exceptions: bool = False, timeout: SupportsFloat | None = None,
                      ) -> list[Any]:
        """As cross_entropy_many, with the arguments of nll_loss."""
        return self._many(NLL_LOSS, problems, return_exceptions, timeout)

    def combine(self, summaries: Iterable[criterion_pb2.Summary | LossResult | Combined],
                ) -> Combined:
        """Merges the summaries of shards exactly.

        Args:
            summaries: results, or their summaries (lossd.v1.Summary), at least one, in any order.

        Returns:
            Combined(summary, loss): the merged summary and the reduced loss.

        Raises:
            InvalidArgument: there is none, or they are of problems that cannot be merged.
            LossdError: the call failed.
        """
        request = service_pb2.CombineRequest(summaries=_summaries(summaries))
        return _replies.from_combined(self._connection.call("Combine", request, self._timeout))

    def server_info(self) -> service_pb2.GetServerInfoResponse:
        """Version, instruction set and limits of the server (lossd.v1.GetServerInfoResponse).

        Raises:
            LossdError: the call failed.
        """
        return self._info(self._timeout)

    def close(self) -> None:
        """Ends the connection. Calls in flight are Cancelled, later ones raise ClientClosed."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _evaluate(self, options: Options, input: Any, target: Any, weight: Any, grad_output: Any,
                  transport: str, timeout: SupportsFloat | None,
                  chunk_bytes: SupportsIndex) -> LossResult:
        transport = _scalars.choice(transport, "transport", ("auto", "unary", "stream"))
        piece = _scalars.integer(chunk_bytes, "chunk_bytes", 1, (1 << 63) - 1)
        deadline = self._deadline(timeout)
        problem = Problem.checked(input, target, weight, grad_output, options)
        try:
            if self._goes_by_stream(problem, transport, deadline):
                return self._by_stream(problem, piece, deadline)
            return self._by_message(problem, deadline)
        except ResourceExhausted:
            self._limits = None  # A server with other limits may have taken this one's place.
            raise

    def _many(self, kind: Kind, problems: Any, return_exceptions: Any,
              timeout: SupportsFloat | None) -> list[LossResult | LossdError]:
        keep_errors = _scalars.switch(return_exceptions, "return_exceptions")
        deadline = self._deadline(timeout)

        def alone(problem: Problem) -> LossResult | None:
            most = _stream.ALWAYS_FITS
            if problem.nbytes <= most or problem.nbytes <= self._most_data(deadline):
                return None
            return self._by_stream(problem, _stream.CHUNK_BYTES, deadline)

        pipeline = Pipeline(functools.partial(self._connection.stream, "EvaluateMany"), alone,
                            functools.partial(_left, deadline), keep_errors)
        return pipeline.run(kind, _many_problem.iterable(problems))

    def _goes_by_stream(self, problem: Problem, transport: str, deadline: float | None) -> bool:
        if transport == "unary" and problem.nbytes > _LARGEST_LIMIT:
            raise too_large(problem.nbytes, _LARGEST_LIMIT)
        if transport != "auto":
            return transport == "stream"
        if problem.nbytes <= _stream.ALWAYS_FITS:
            return False
        return problem.nbytes > min(_UNARY_BYTES, self._most_data(deadline))

    def _by_message(self, problem: Problem, deadline: float | None) -> LossResult:
        response = self._connection.call("Evaluate", problem.request(), _left(deadline))
        return _replies.from_response(response, problem)

    def _by_stream(self, problem: Problem, chunk_bytes: int,
                   deadline: float | None) -> LossResult:
        if min(chunk_bytes, problem.nbytes) > _stream.ALWAYS_FITS:
            chunk_bytes = min(chunk_bytes, self._most_data(deadline))
        attempt = functools.partial(self._attempt, problem, chunk_bytes)
        with _errors.translated():
            return _retry.call(attempt, _left(deadline))

    def _attempt(self, problem: Problem, chunk_bytes: int,
                 timeout: float | None) -> LossResult:
        requests = _stream.messages(problem, chunk_bytes)
        with self._connection.stream("EvaluateStream", requests, timeout) as replies:
            outputs = _replies.StreamOutputs(problem)
            for reply in replies:
                outputs.take(reply)
            return outputs.result()

    def _most_data(self, deadline: float | None) -> int:
        """How much data fits a message. The server is asked once."""
        limits = self._limits
        if limits is None:
            try:
                limits = self._info(_left(deadline)).limits
            except Unimplemented:
                return _stream.ALWAYS_FITS  # A proxy that lets nothing but evaluations through.
        return _stream.most_data(limits.max_message_bytes)

    def _info(self, timeout: float | None) -> service_pb2.GetServerInfoResponse:
        info: service_pb2.GetServerInfoResponse = self._connection.call(
            "GetServerInfo", service_pb2.GetServerInfoRequest(), timeout)
        self._limits = info.limits
        return info

    def _deadline(self, timeout: Any) -> float | None:
        """When a call has to be over, by time.monotonic()."""
        limit = self._timeout if timeout is None else _scalars.seconds(timeout, "timeout")
        return None if limit is None else time.monotonic() + limit


def _left(deadline: float | None) -> float | None:
    """The seconds that are left; gRPC takes 0 for a limit that it may pass."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("no time was left to make the call",
                               grpc.StatusCode.DEADLINE_EXCEEDED)
    return left


def _summaries(values: Any) -> list[criterion_pb2.Summary]:
    if isinstance(values, (criterion_pb2.Summary, LossResult, str, bytes)) or not hasattr(
            values, "__iter__"):
        raise invalid_type("summaries", "",
                           f"expected several results or summaries, got {describe(values)}")
    found = []
    for number, value in enumerate(values):
        summary = value.summary if isinstance(value, (LossResult, Combined)) else value
        if not isinstance(summary, criterion_pb2.Summary):
            raise invalid_type(f"summaries[{number}]", "",
                               f"expected a result or its summary, got {describe(value)}")
        found.append(summary)
    return found
