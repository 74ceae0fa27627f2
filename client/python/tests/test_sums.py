"""Sums as numbers: the divisor of mean, and batches that come in parts."""

import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import LABELS, X

from lossd import _sums
from lossd.v1 import criterion_pb2, tensor_pb2

W = np.float32([0.2, 0.3, 0.5])


def exact(number, exponent):
    """The message of a number that is a multiple of 2^-exponent."""
    units = int(Fraction(number) * (1 << exponent))
    return criterion_pb2.ExactSum(units=units.to_bytes(
        (units.bit_length() + 8) // 8, "little", signed=True))


@pytest.mark.parametrize(("dtype", "exponent"), [
    (tensor_pb2.DATA_TYPE_FLOAT32, 149), (tensor_pb2.DATA_TYPE_FLOAT16, 149),
    (tensor_pb2.DATA_TYPE_BFLOAT16, 149), (tensor_pb2.DATA_TYPE_FLOAT64, 1074)])
def test_exact_sums_are_rounded_once(dtype, exponent):
    for value in (0.0, 1.0, -2.5, 3 * 2.0**-149, 2.0**127, -(2.0**100) - 2.0**60):
        assert _sums.to_float(exact(value, exponent), dtype) == value
    half_up = (1 << 53) + 1  # Half-way: the even one of its neighbours, and above it the upper.
    assert _sums.to_float(exact(half_up, exponent), dtype) == 2.0**53
    assert _sums.to_float(exact(half_up + Fraction(1, 1 << 149), exponent), dtype) == 2.0**53 + 2
    zero = _sums.to_float(criterion_pb2.ExactSum(), dtype)
    assert zero == 0 and math.copysign(1, zero) == 1


def test_sums_beyond_numbers():
    double = tensor_pb2.DATA_TYPE_FLOAT64
    Sum = criterion_pb2.ExactSum
    assert _sums.to_float(exact(1 << 1024, 1074), double) == math.inf
    assert _sums.to_float(exact(-(1 << 1024), 1074), double) == -math.inf
    assert _sums.to_float(exact(5e-324, 1074), double) == 5e-324
    assert _sums.to_float(Sum(positive_infinity_count=2), double) == math.inf
    assert _sums.to_float(Sum(negative_infinity_count=1), double) == -math.inf
    for both in (Sum(nan_count=1, positive_infinity_count=1),
                 Sum(positive_infinity_count=1, negative_infinity_count=1)):
        assert math.isnan(_sums.to_float(both, double))


def test_sums_of_results(client):
    got = client.cross_entropy(X, LABELS, weight=W)
    assert got.normalizer == float(W[2]) + float(W[0])
    assert np.isclose(got.loss_sum / got.normalizer, got.loss, rtol=1e-7)
    assert client.cross_entropy(X, LABELS, weight=W, reduction="sum", normalizer=None
                                ).normalizer == got.normalizer
    assert client.cross_entropy(X, LABELS, normalizer=7).normalizer == 2
    assert client.cross_entropy(X, [-100, -100]).normalizer == 0
    assert client.cross_entropy(X, np.full((2, 3), 0.1, np.float32), weight=W).normalizer == 2
    double = client.cross_entropy(X.astype(float), LABELS, weight=[0.2, 0.3, 0.5])
    assert double.normalizer == 0.7
    diverged = client.cross_entropy(np.float32([[0, -np.inf]]), [1])
    assert diverged.loss_sum == math.inf and diverged.normalizer == 1


def test_micro_batches_give_the_gradient_of_the_batch(client):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(11, 3)).astype(np.float32), rng.integers(0, 3, 11)
    whole = client.cross_entropy(x, y, weight=W, grad=True)
    parts = [(x[begin:begin + 4], y[begin:begin + 4]) for begin in (0, 4, 8)]

    # As the documentation has it: sums, divided at the end.
    grads, divisor, results = [], 0.0, []
    for part_x, part_y in parts:
        part = client.cross_entropy(part_x, part_y, weight=W, reduction="sum", grad=True)
        grads.append(part.grad)
        divisor += part.normalizer
        results.append(part)
    np.testing.assert_allclose(np.concatenate(grads) / np.float32(divisor), whole.grad, rtol=1e-6,
                               atol=1e-9)
    # With the divisor known beforehand: the same bits.
    assert divisor == whole.normalizer
    shares = [client.cross_entropy(part_x, part_y, weight=W, normalizer=divisor, grad=True)
              for part_x, part_y in parts]
    assert np.array_equal(np.concatenate([share.grad for share in shares]), whole.grad)
    combined = client.combine(results)
    assert combined.normalizer == divisor and combined.loss_sum == whole.loss_sum
    summary, loss = client.combine(share.summary for share in shares[::-1])
    assert loss == whole.loss and summary.positions == 11
