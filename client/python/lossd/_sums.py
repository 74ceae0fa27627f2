"""Exact sums (lossd.v1.ExactSum) as floats."""

import math

from .v1 import criterion_pb2, tensor_pb2


def to_float(total: criterion_pb2.ExactSum, dtype: int) -> float:
    """An exact sum rounded once, to the nearest float, ties to even.

    Args:
        total: the sum; its units are two's complement, little-endian, 2^-149 each, or 2^-1074 for
            float64.
        dtype: the summary's lossd.v1.DataType.

    Returns:
        The float; NaN and infinities as adding them up would give, zero as +0.
    """
    if total.nan_count or (total.positive_infinity_count and total.negative_infinity_count):
        return math.nan
    if total.positive_infinity_count:
        return math.inf
    if total.negative_infinity_count:
        return -math.inf
    units = int.from_bytes(total.units, "little", signed=True)
    exponent = 1074 if dtype == tensor_pb2.DATA_TYPE_FLOAT64 else 149
    try:
        return units / (1 << exponent)  # Python divides integers with one rounding.
    except OverflowError:
        return math.inf if units > 0 else -math.inf
