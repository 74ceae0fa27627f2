"""Client of lossd: cross-entropy losses and gradients over gRPC, for numpy arrays."""

from ._client import Client, CrossEntropyResult
from ._errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    LossdError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "Cancelled",
    "Client",
    "CrossEntropyResult",
    "DeadlineExceeded",
    "FailedPrecondition",
    "InvalidArgument",
    "LossdError",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
]
