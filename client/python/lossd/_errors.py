"""What a failed call raises: a class by its code, with the field path and reason of the server."""

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


class LossdError(Exception):
    """A call that failed.

    Attributes:
        code: the grpc.StatusCode.
        field: path of the field at fault, such as "input.shape" or "target[17]"; "" where none is.
        reason: a stable word, such as "LABEL_OUT_OF_RANGE"; "" where the server gave none.
        retry_after: seconds after which the call may succeed, or None.
    """

    def __init__(self, message, code=None, field="", reason="", retry_after=None):
        super().__init__(message)
        self.code = code
        self.field = field
        self.reason = reason
        self.retry_after = retry_after


class InvalidArgument(LossdError, ValueError):
    """The problem is not valid; nothing was computed."""


class FailedPrecondition(LossdError):
    """The server does not offer what was asked for."""


class ResourceExhausted(LossdError):
    """A limit was passed, or the server is busy: then retry_after says when to try again."""


class Unavailable(LossdError, ConnectionError):
    """The server could not be reached."""


class DeadlineExceeded(LossdError, TimeoutError):
    """The call took longer than its timeout."""


class Cancelled(LossdError):
    """The call was cancelled."""


class Unauthenticated(LossdError):
    """The server wants a token, or another one."""


class PermissionDenied(LossdError):
    """The token does not allow this."""


_CLASSES = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}


def from_rpc_error(error):
    """The LossdError for a grpc.RpcError of a call."""
    code = error.code()
    field, reason, retry_after = "", "", None
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            field, reason, retry_after = _details(value)
    message = f"{code.name}: {error.details()}" + (f" [{reason}]" if reason else "")
    return _CLASSES.get(code, LossdError)(message, code, field, reason, retry_after)


def _details(value):
    field, reason, retry_after = "", "", None
    status = status_pb2.Status.FromString(value)
    bad = error_details_pb2.BadRequest()
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        elif detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos * 1e-9
    return field, reason, retry_after
