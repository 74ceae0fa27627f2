"""Streams that did not reach their server are opened again."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

T = TypeVar("T")

_ATTEMPTS = 4
_FIRST_PAUSE = 0.05
_GROWTH = 3


def call(attempt: Callable[[float | None], T], timeout: float | None) -> T:
    """Makes attempt(SECONDS) until it ends with anything but UNAVAILABLE.

    Four times at most and not beyond ``timeout`` seconds in all (None: no limit). Between them it
    sleeps for 50 ms, 150 ms and 450 ms, a fifth more or less: clients that lost one server do not
    all come back at once.

    Raises:
        grpc.RpcError: the last attempt's.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt(timeout)
        except grpc.RpcError as error:
            wait = pause * random.uniform(0.8, 1.2)
            timeout = None if deadline is None else deadline - time.monotonic() - wait
            late = timeout is not None and timeout <= 0
            if error.code() is not grpc.StatusCode.UNAVAILABLE or late:
                raise
        time.sleep(wait)
        pause *= _GROWTH
    return attempt(timeout)
