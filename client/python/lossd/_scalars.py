"""Numbers, switches and words among the arguments: what is taken for one, and what is refused.

Wherever a number stands, numpy scalars and arrays of no dimension do too. True and False are no
numbers, and numbers are no switches.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._exceptions import describe, invalid, invalid_type

# Longer than any call; time.time() plus this is still exact to a microsecond.
_FOREVER_SECONDS = 1e9

# Kinds that have __float__, or could have it, and are no real numbers all the same.
_NO_NUMBERS = (bool, str, bytes, complex, np.ndarray, np.complexfloating, np.character,
               np.datetime64, np.timedelta64, np.void)

# Bounds as people write them.
_BOUNDS = {-(1 << 63): "-2^63", (1 << 63) - 1: "2^63 - 1", (1 << 32) - 1: "2^32 - 1",
           -(1 << 31): "-2^31", (1 << 31) - 1: "2^31 - 1"}


def integer(value: Any, name: str, least: int, most: int) -> int:
    """The value as an int.

    Raises:
        InvalidType: it is no integer.
        InvalidArgument: it is outside [least, most].
    """
    if type(value) is int and least <= value <= most:
        return value
    expected = f"an integer in [{_BOUNDS.get(least, least)}, {_BOUNDS.get(most, most)}]"
    scalar = _unwrapped(value)
    if isinstance(scalar, (bool, np.ndarray)) or not hasattr(scalar, "__index__"):
        raise invalid_type(name, "", f"expected {expected}, got {describe(value)}")
    try:
        result = operator.index(scalar)
    except TypeError:  # A numpy float has the method, and so has a tensor of several values.
        raise invalid_type(name, "", f"expected {expected}, got {describe(value)}") from None
    if not least <= result <= most:
        raise invalid(name, "VALUE_RANGE", f"expected {expected}, got {describe(value)}")
    return result


def number(value: Any, name: str, expected: str) -> float:
    """The value as a float; NaN and infinities pass.

    Args:
        value: anything.
        name: the argument's name.
        expected: its description for the message, such as "a number in [0, 1]".

    Raises:
        InvalidType: it is no real number.
        InvalidArgument: it is an integer beyond every float.
    """
    scalar = _unwrapped(value)
    try:
        if not isinstance(scalar, _NO_NUMBERS) and hasattr(scalar, "__float__"):
            return float(scalar)
    except OverflowError:
        raise invalid(name, "VALUE_RANGE", f"expected {expected}, got {describe(value)}") from None
    except (TypeError, ValueError):
        pass  # A tensor of several values.
    raise invalid_type(name, "", f"expected {expected}, got {describe(value)}")


def switch(value: Any, name: str) -> bool:
    """The value as a bool.

    Raises:
        InvalidType: it is neither True nor False.
    """
    scalar = _unwrapped(value)
    if not isinstance(scalar, bool):
        raise invalid_type(name, "", f"expected True or False, got {describe(value)}")
    return scalar


def choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """The value, one of some words.

    Raises:
        InvalidType: it is no string.
        InvalidArgument: it is another one.
    """
    if isinstance(value, str) and value in choices:
        return value
    words = [f'"{word}"' for word in choices]
    expected = ", ".join(words[:-1]) + f" or {words[-1]}"
    if not isinstance(value, str):
        raise invalid_type(name, "", f"expected {expected}, got {describe(value)}")
    raise invalid(name, "", f"expected {expected}, got {describe(value)}")


def seconds(value: Any, name: str) -> float | None:
    """A time limit in seconds, or None where there is none: for None, infinity and what is as good
    as that.

    Raises:
        InvalidType: it is no number.
        InvalidArgument: it is negative or NaN.
    """
    if value is None:
        return None
    expected = "seconds, at least 0, or None for no limit"
    limit = number(value, name, expected)
    if math.isnan(limit) or limit < 0:
        raise invalid(name, "VALUE_RANGE", f"expected {expected}, got {describe(value)}")
    return None if limit > _FOREVER_SECONDS else limit


def _unwrapped(value: Any) -> Any:
    """Python's own object for a numpy scalar or an array of no dimension."""
    if isinstance(value, np.bool_) or (isinstance(value, np.ndarray) and value.ndim == 0
                                       and not isinstance(value, np.ma.MaskedArray)):
        return value.item()
    return value

