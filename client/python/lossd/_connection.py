"""A connection to a server: the channel, who may use it, and calls that end in LossdErrors."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from . import _errors
from ._exceptions import ClientClosed, describe, invalid, invalid_type
from .v1 import service_pb2_grpc

# Calls of one message are made again by gRPC where the server could not be reached, as often as
# streams by _retry.
_SERVICE_CONFIG = json.dumps({"methodConfig": [{
    "name": [{"service": "lossd.v1.LossService", "method": method}
             for method in ("Evaluate", "Combine", "GetServerInfo")],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                    "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]},
}]})

_OPTIONS = [
    ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
    ("grpc.service_config", _SERVICE_CONFIG),
    # What may be sent again is kept up to this size: a message that does not go by stream fits.
    ("grpc.per_rpc_retry_buffer_size", 2 << 20),
    # A server that comes back is found between the attempts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # A server that is gone without a word ends its calls.
    ("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 20_000),
]


class Connection:
    """An open channel. Safe for use from several threads."""

    def __init__(self, address: Any, token: Any, root_certificates: Any) -> None:
        """Connects when the first call is made.

        Raises:
            InvalidArgument: an argument is of a wrong kind; arguments are those of Client.
        """
        _check_address(address)
        _check_roots(root_certificates)
        _check_token(token, bool(root_certificates) or address.startswith("unix:"))
        if root_certificates is None:
            self._channel = grpc.insecure_channel(address, _OPTIONS)
        else:
            roots = None if root_certificates is True else root_certificates
            self._channel = grpc.secure_channel(
                address, grpc.ssl_channel_credentials(roots), _OPTIONS)
        self._stub = service_pb2_grpc.LossServiceStub(self._channel)
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        self._closed = False

    def call(self, method: str, request: Any, timeout: float | None) -> Any:
        """The response to one message.

        Raises:
            LossdError: the call failed, or this is closed.
        """
        with _errors.translated(), self._usable():
            return getattr(self._stub, method)(request, timeout=timeout, metadata=self._metadata)

    @contextmanager
    def stream(self, method: str, requests: Iterable[Any],
               timeout: float | None) -> Iterator[Any]:
        """An EvaluateStream or EvaluateMany call, as an iterator of its replies; cancelled when the
        block is left before it has ended.

        Raises:
            grpc.RpcError: the call failed; for _retry.
            ClientClosed: this is closed.
        """
        with self._usable():
            call = getattr(self._stub, method)(iter(requests), timeout=timeout,
                                               metadata=self._metadata)
        try:
            yield call
        finally:
            call.cancel()

    def close(self) -> None:
        """Ends the calls in flight and refuses further ones."""
        self._closed = True
        self._channel.close()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Raises ClientClosed in place of the ValueError that a closed channel raises."""
        try:
            yield
        except ValueError as error:
            if not self._closed:
                raise
            raise ClientClosed("the client was closed; make another one",
                               grpc.StatusCode.FAILED_PRECONDITION) from error


def _check_address(address: Any) -> None:
    expected = 'expected "HOST:PORT" or "unix:PATH"'
    if not isinstance(address, str):
        raise invalid_type("address", "", f"{expected}, got {describe(address)}")
    if not address.strip() or "\0" in address:
        raise invalid("address", "", f"{expected}, got {describe(address)}")


def _check_roots(roots: Any) -> None:
    expected = "expected PEM bytes, True for the system's certificates, or None for no TLS"
    if roots is None or roots is True:
        return
    if not isinstance(roots, bytes):
        raise invalid_type("root_certificates", "", f"{expected}, got {describe(roots)}")
    if b"-----BEGIN CERTIFICATE-----" not in roots:
        raise invalid("root_certificates", "",
                      f"{expected}; there is no certificate in these bytes")


def _check_token(token: Any, private: bool) -> None:
    """Refuses tokens without saying them."""
    if token is None:
        return
    if not isinstance(token, str):
        raise invalid_type("token", "", f"expected a string, got a {type(token).__name__}")
    if not token or not all("!" <= character <= "~" for character in token):
        raise invalid("token", "", "expected printable ASCII characters without spaces")
    if not private:
        raise invalid("token", "", "a token is sent over TLS or a Unix socket only: give "
                      "root_certificates")
