"""Clients by name, for frameworks that hand on nothing but arrays, numbers and strings."""

import itertools
import os
import threading
import weakref
from typing import Any

_DEFAULT_ADDRESS = "127.0.0.1:50051"

# The name of the client for the address in LOSSD_ADDRESS.
DEFAULT = ""

_numbers = itertools.count(1)
_clients: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()


class _Shared:
    """One client for each address, made when it is first asked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clients: dict[str, Any] = {}


_shared = _Shared()
# The parent's: a channel's destructor in a child would wait for threads that are not there.
_inherited: list[_Shared] = []


def new(client: Any) -> str:
    """A name for a client, as long as it lives."""
    name = f"client-{next(_numbers)}"
    _clients[name] = client
    return name


def find(name: str) -> Any:
    """The client of a name. That of DEFAULT is shared by the whole process; its address is read
    from the environment each time.

    Raises:
        LossdError: the client is no more.
    """
    from ._client import Client
    from ._exceptions import ClientClosed

    if name == DEFAULT:
        address = os.environ.get("LOSSD_ADDRESS") or _DEFAULT_ADDRESS
        with _shared.lock:
            if address not in _shared.clients:
                _shared.clients[address] = Client(address)
            return _shared.clients[address]
    client = _clients.get(name)
    if client is None:
        raise ClientClosed("the client of this loss is no more; keep it as long as the loss")
    return client


def _after_fork() -> None:
    """A child makes clients of its own: threads and sockets of the parent's are not its."""
    global _shared  # noqa: PLW0603
    _inherited.append(_shared)
    _shared = _Shared()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
