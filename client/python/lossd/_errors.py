"""From the status of a failed call to the exception that the caller sees."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from ._exceptions import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    LossdError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)

_DETAILS_KEY = "grpc-status-details-bin"

_CLASSES: dict[grpc.StatusCode, type[LossdError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

# From the server's paths to the arguments of this package.
_OWNERS = re.compile(r"^(header\.|request\.)?"
                     r"(criterion\.(cross_entropy|nll_loss)\.|criterion\.|outputs\.)?")
_RENAMED = {"grad_input": "grad"}

_NOT_LOSSD = "; is it a lossd server that answers at this address?"

_BY_STREAM = '; transport="stream" sends a problem in pieces'


class _Details(NamedTuple):
    path: str = ""
    reason: str = ""
    retry_after: float | None = None


@contextmanager
def translated() -> Iterator[None]:
    """Raises a LossdError in place of any grpc.RpcError."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


def from_rpc_error(error: grpc.RpcError) -> LossdError:
    """The LossdError for the grpc.RpcError of a call."""
    return _error(error.code(), error.details(), _details(error.trailing_metadata()), "")


def from_status(status: status_pb2.Status, place: str) -> LossdError:
    """The LossdError for an answer of EvaluateMany that is an error.

    Args:
        status: the answer.
        place: the problem's, such as "problems[3]".
    """
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    try:
        details = _unpack(status)
    except DecodeError:
        details = _Details()
    return _error(code, status.message, details, place)


def _error(code: grpc.StatusCode, words: str | None, details: _Details, place: str) -> LossdError:
    words = words or "no message"
    argument = _argument(details.path)
    field = ".".join(filter(None, (place, argument)))
    if argument and words.startswith(f"{details.path}: "):
        words = field + words[len(details.path):]
    elif place:
        words = f"{place}: {words}"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        words += _NOT_LOSSD
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in words:
        words += _BY_STREAM
    message = f"{code.name}: {words}" + (f" [{details.reason}]" if details.reason else "")
    kind = _CLASSES.get(code, LossdError)
    return kind(message, code, field, details.reason, details.retry_after)


def _argument(path: str) -> str:
    """The argument that a path of the protocol stands for."""
    name = _OWNERS.sub("", path, count=1)
    return _RENAMED.get(name, name)


def _details(metadata: object) -> _Details:
    """The details among trailing metadata; empty where there are none or they cannot be read:
    proxies and other services put anything there."""
    status = status_pb2.Status()
    try:
        for key, value in metadata or ():  # type: ignore[attr-defined]
            if key == _DETAILS_KEY and isinstance(value, bytes):
                status = status_pb2.Status.FromString(value)
        return _unpack(status)
    except DecodeError:
        return _Details()


def _unpack(status: status_pb2.Status) -> _Details:
    bad = error_details_pb2.BadRequest()
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    found = _Details()
    for detail in status.details:
        if detail.Unpack(bad):
            if bad.field_violations:
                found = found._replace(path=bad.field_violations[0].field)
        elif detail.Unpack(info):
            found = found._replace(reason=info.reason)
        elif detail.Unpack(retry):
            delay = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
            found = found._replace(retry_after=delay)
    return found
