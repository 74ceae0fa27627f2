"""The exceptions of this package. Each is a LossdError and the standard exception it resembles."""

import reprlib

import grpc

# Kinds whose whole repr could be long to make.
_CONTAINERS = (list, tuple, dict, set, frozenset, str, bytes)


class LossdError(Exception):
    """A call that failed, or could not be made.

    Attributes:
        code: the grpc.StatusCode, or None where a LossdError was made by hand.
        field: path of the argument at fault, such as "input.shape", "target[17]" or "top_k";
            "" where none is.
        reason: a stable word, such as "LABEL_OUT_OF_RANGE"; "" where there is none.
        retry_after: seconds after which the call may succeed, or None.
    """

    def __init__(self, message: str, code: grpc.StatusCode | None = None, field: str = "",
                 reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.reason = reason
        self.retry_after = retry_after


class InvalidArgument(LossdError, ValueError):
    """The problem or an argument is not valid; nothing was computed."""


class InvalidType(InvalidArgument, TypeError):
    """An argument is of a kind that cannot be taken."""


class FailedPrecondition(LossdError, RuntimeError):
    """The server does not offer the wanted thing, or the client cannot in its present state."""


class ClientClosed(FailedPrecondition, ValueError):
    """The client was used after close()."""


class ResourceExhausted(LossdError):
    """A limit was passed, or the server is busy: then retry_after says when to try again."""


class Unavailable(LossdError, ConnectionError):
    """The server could not be reached."""


class Unimplemented(LossdError, NotImplementedError):
    """The server does not know the call: another service answers at this address."""


class DeadlineExceeded(LossdError, TimeoutError):
    """The call took longer than its timeout."""


class Cancelled(LossdError):
    """The call was cancelled, by close() in another thread for example."""


class Unauthenticated(LossdError, PermissionError):
    """The server wants a token, or another one."""


class PermissionDenied(LossdError, PermissionError):
    """The token does not allow this."""


class UnexpectedReply(LossdError, RuntimeError):
    """The server ended the call with OK, but its answer does not fit the question."""


def invalid(field: str, reason: str, words: str) -> InvalidArgument:
    """The error for an argument of a wrong value.

    Args:
        field: path of the argument.
        reason: the word that a server would give, or "".
        words: what was expected and what was got.
    """
    return _argument_error(InvalidArgument, field, reason, words)


def invalid_type(field: str, reason: str, words: str) -> InvalidArgument:
    """The error for an argument of a wrong kind; arguments as in invalid()."""
    return _argument_error(InvalidType, field, reason, words)


def too_large(size: int, limit: int) -> ResourceExhausted:
    """The error for a problem that no message can carry, in bytes."""
    return ResourceExhausted(
        f'input: {size} bytes with all that belongs to it, expected at most {limit} for '
        'transport="unary"; transport="stream" takes any size [LIMIT_EXCEEDED]',
        grpc.StatusCode.RESOURCE_EXHAUSTED, "input", "LIMIT_EXCEEDED")


def unexpected(words: str) -> UnexpectedReply:
    """The error for an answer that does not fit."""
    return UnexpectedReply(f"the server's answer is not one to this call: {words}",
                           grpc.StatusCode.INTERNAL)


def describe(value: object) -> str:
    """A short form of a value for messages: its repr where that is short, else its type."""
    text = reprlib.repr(value) if isinstance(value, _CONTAINERS) else repr(value)
    if len(text) <= 60 and "\n" not in text:
        return text
    return f"a value of type {type(value).__name__}"


def _argument_error(kind: type[InvalidArgument], field: str, reason: str,
                    words: str) -> InvalidArgument:
    message = f"{field}: {words}" + (f" [{reason}]" if reason else "")
    return kind(message, grpc.StatusCode.INVALID_ARGUMENT, field, reason)
