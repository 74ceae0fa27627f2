"""Streams: their messages are within every limit, and carry weights of any size."""

import math

import grpc
import numpy as np
import pytest
from conftest import Server, serving

import lossd
from lossd import _stream
from lossd._criteria import CROSS_ENTROPY
from lossd._options import Options
from lossd._problem import Problem
from lossd.v1 import service_pb2, service_pb2_grpc

DEFAULTS = {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0, "class_axis": 1,
            "grad": False, "grad_target": False, "grad_weight": False, "log_sum_exp": False,
            "top_k": 0, "empty_mean": "nan", "normalizer": None}


def problem(input, target, weight=None, grad_output=None, **options):
    return Problem.checked(input, target, weight, grad_output,
                           Options.checked(CROSS_ENTROPY, **{**DEFAULTS, **options}))


def joined(messages, name):
    return b"".join(getattr(message, name) for message in messages)


def order(messages):
    """The names of the tensors, in the order in which their first bytes go."""
    names = []
    for message in messages:
        for field, _ in message.ListFields():
            if field.name not in names:
                names.append(field.name)
    return names


@pytest.mark.parametrize("chunk_bytes", [1, 7, 100, 1 << 20])
def test_messages_carry_everything_once(chunk_bytes):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(5, 3, 2)).astype(np.float16)
    t = rng.random((5, 3, 2)).astype(np.float32)
    g = rng.random((5, 2)).astype(np.float32)
    messages = list(_stream.messages(problem(x, t, None, g, reduction="none", grad=True),
                                     chunk_bytes))
    for name, array in (("input", x), ("target", t), ("grad_output", g), ("weight", x[:0])):
        assert joined(messages, name) == array.tobytes()
    assert messages[0].HasField("header")
    assert not any(message.HasField("header") for message in messages[1:])
    assert all(len(m.input) + len(m.target) + len(m.grad_output) <= chunk_bytes + 8
               for m in messages)
    labels = rng.integers(0, 3, (5, 2))
    messages = list(_stream.messages(problem(x, labels, grad_output=2, grad=True), chunk_bytes))
    assert joined(messages, "target") == labels.tobytes()
    assert joined(messages, "grad_output") == np.float32(2).tobytes()
    assert order(messages)[:2] == ["header", "target"]
    # A scalar goes whole beside the first bytes of the input.
    assert next(m for m in messages if m.input).grad_output == np.float32(2).tobytes()


def test_an_input_without_elements_has_its_companions():
    messages = list(_stream.messages(problem(np.zeros((0, 3)), [], grad_output=2.0, grad=True), 99))
    assert joined(messages, "grad_output") == np.float64(2).tobytes()


def test_a_large_weight_goes_before_all_else():
    classes = _stream.ALWAYS_FITS // 4
    for size, inside in ((classes, True), (classes + 1, False)):
        weight = np.arange(size, dtype=np.float32)
        messages = list(_stream.messages(
            problem(np.zeros((1, size), np.float32), [3], weight), 10_000))
        header = messages[0].header.criterion.cross_entropy.weight
        assert tuple(header.shape) == (size,)
        assert header.WhichOneof("data") == ("raw" if inside else None)
        assert joined(messages, "weight") == (b"" if inside else weight.tobytes())
        assert order(messages) == (["header", "target", "input"] if inside
                                   else ["header", "weight", "target", "input"])
        assert all(len(message.weight) <= 10_000 for message in messages)


@pytest.mark.parametrize("shape", [(262144, 2), (2, 2, 512, 512)])
def test_operands_larger_than_the_input(client, shape):
    positions = shape[:1] + shape[2:]
    got = client.cross_entropy(np.zeros(shape, np.float16), np.full(shape, 0.5, np.float32),
                               grad_output=np.ones(positions, np.float32), reduction="none",
                               grad=True)
    assert got.loss.shape == positions and (got.loss == np.float32(math.log(2))).all()
    assert not got.grad.any()


def test_chunks_are_cut_to_the_limit_of_the_server(client):
    x = np.zeros((4000, 1000), np.float16)
    got = client.cross_entropy(x, np.zeros(4000, int), chunk_bytes=1 << 40)
    assert got.loss == np.float32(math.log(1000))


@pytest.mark.parametrize("transport", ["auto", "stream"])
def test_a_server_with_the_smallest_limit(transport):
    server = Server("--max-message-bytes", "65536")
    try:
        with lossd.Client(server.tcp, timeout=60) as client:
            for rows in (1, 7, 8, 15, 16, 17, 100):
                x = np.zeros((rows, 1000), np.float32)
                for target in (np.zeros(rows, int), np.full((rows, 1000), 0.001, np.float32)):
                    got = client.cross_entropy(x, target, transport=transport,
                                               weight=np.ones(1000, np.float32))
                    assert math.isclose(got.loss, math.log(1000), rel_tol=1e-6)
    finally:
        assert server.stop() == 0


class Refusing(service_pb2_grpc.LossServiceServicer):
    """Takes streams whole, then refuses them."""

    def __init__(self):
        self.code = grpc.StatusCode.UNAUTHENTICATED
        self.asked = 0
        self.largest = 0

    def EvaluateStream(self, requests, context):
        self.largest = max(request.ByteSize() for request in requests)
        context.abort(self.code, "no")

    def GetServerInfo(self, request, context):
        self.asked += 1
        return service_pb2.GetServerInfoResponse(limits={"max_message_bytes": 100_000})


class Narrow(Refusing):
    """Lets nothing but evaluations through."""

    GetServerInfo = service_pb2_grpc.LossServiceServicer.GetServerInfo


def refused(client):
    """One try of a stream of 4 MB."""
    with pytest.raises(lossd.LossdError, match="no"):
        client.cross_entropy(np.zeros((1000, 1000), np.float32), np.zeros(1000, int))


def test_limits_are_asked_once_and_again_where_one_was_passed():
    servicer = Refusing()
    with serving(servicer) as address, lossd.Client(address, timeout=60) as client:
        refused(client)
        refused(client)
        assert servicer.asked == 1 and 90_000 < servicer.largest <= 100_000
        servicer.code = grpc.StatusCode.RESOURCE_EXHAUSTED
        refused(client)
        assert servicer.asked == 1
        refused(client)
        assert servicer.asked == 2


def test_limits_that_cannot_be_asked():
    servicer = Narrow()
    with serving(servicer) as address, lossd.Client(address, timeout=60) as client:
        refused(client)
        assert 50_000 < servicer.largest <= 65_536


@pytest.mark.parametrize(("dtype", "classes"), [(np.float32, 1_100_000), (np.float64, 530_000)])
@pytest.mark.parametrize("transport", ["auto", "stream"])
def test_a_weight_larger_than_a_message(client, dtype, classes, transport):
    got = client.cross_entropy(np.zeros((1, classes), dtype), [3], weight=np.full(
        classes, 0.5, dtype), transport=transport)
    assert math.isclose(got.loss, math.log(classes), rel_tol=1e-7)
    assert got.normalizer == 0.5


def test_a_weight_that_needs_the_stream_counts_by_class(client):
    weight = np.zeros(20_000, np.float64)
    weight[[3, 5]] = 1, 3
    got = client.cross_entropy(np.zeros((3, 20_000)), [3, 5, 7], weight=weight, transport="stream",
                               chunk_bytes=1001, reduction="none", grad_weight=True)
    assert np.allclose(got.loss, np.log(20_000) * weight[[3, 5, 7]])
    assert got.normalizer == 4 and np.count_nonzero(got.grad_weight) == 3
