"""Client of lossd: cross-entropy losses and gradients over gRPC, for arrays of numpy and others."""

from ._client import Client
from ._exceptions import (
    Cancelled,
    ClientClosed,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    InvalidType,
    LossdError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    UnexpectedReply,
    Unimplemented,
)
from ._result import Combined, LossResult
from ._version import __version__

__all__ = [
    "Cancelled",
    "Client",
    "ClientClosed",
    "Combined",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidArgument",
    "InvalidType",
    "LossResult",
    "LossdError",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedReply",
    "Unimplemented",
    "__version__",
]
