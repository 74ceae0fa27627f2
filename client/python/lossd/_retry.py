"""Streams that did not reach their server are opened again."""

import random
import time

import grpc

_ATTEMPTS = 4
_FIRST_PAUSE = 0.05
_GROWTH = 3


def call(attempt, timeout):
    """Makes attempt(timeout=SECONDS) until it ends with anything but UNAVAILABLE.

    Four times at most and not beyond ``timeout`` seconds in all (None: no limit). Between them it
    sleeps for 50 ms, 150 ms and 450 ms, a fifth more or less: clients that lost one server do not
    all come back at once.

    Raises:
        grpc.RpcError: what the last attempt ended with.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    for left in reversed(range(_ATTEMPTS)):
        try:
            return attempt(timeout=timeout)
        except grpc.RpcError as error:
            wait = pause * random.uniform(0.8, 1.2)
            timeout = None if deadline is None else deadline - time.monotonic() - wait
            late = timeout is not None and timeout <= 0
            if error.code() is not grpc.StatusCode.UNAVAILABLE or left == 0 or late:
                raise
        time.sleep(wait)
        pause *= _GROWTH
