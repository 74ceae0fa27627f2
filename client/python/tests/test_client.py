"""Errors, arguments and further outputs of the Python client."""

from concurrent import futures

import grpc
import numpy as np
import pytest

import lossd
from lossd.v1 import service_pb2, service_pb2_grpc

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_errors_have_field_and_reason(client, transport):
    with pytest.raises(lossd.InvalidArgument) as caught:
        client.cross_entropy(X, np.array([0, 3]), transport=transport)
    assert caught.value.field == "target[1]"
    assert caught.value.reason == "LABEL_OUT_OF_RANGE"
    assert "expected a class in [0, 3)" in str(caught.value)
    with pytest.raises(ValueError, match="LABEL_SMOOTHING_RANGE"):
        client.cross_entropy(X, np.array([0, 1]), label_smoothing=1.5, transport=transport)
    with pytest.raises(lossd.InvalidArgument, match="SHAPE_MISMATCH"):
        client.cross_entropy(X, np.array([0, 1, 2]), transport=transport)
    with pytest.raises(lossd.InvalidArgument, match="DTYPE_UNSUPPORTED"):
        client.cross_entropy(X.astype(np.int32), np.array([0, 1]), transport=transport)


def test_arguments_that_have_no_place_on_the_wire(client):
    with pytest.raises(ValueError, match="reduction"):
        client.cross_entropy(X, np.array([0, 1]), reduction="max")
    with pytest.raises(TypeError, match="input"):
        client.cross_entropy(X.astype(complex), np.array([0, 1]))
    with pytest.raises(ValueError, match="TLS"):
        lossd.Client("127.0.0.1:1", token="secret")


def test_no_server():
    with (lossd.Client("127.0.0.1:1", timeout=2) as client,
          pytest.raises((lossd.Unavailable, lossd.DeadlineExceeded))):
        client.cross_entropy(X, np.array([0, 1]))


def test_strided_and_big_endian_arrays(client):
    plain = client.cross_entropy(X, np.array([0, 2]), grad=True)
    fortran = client.cross_entropy(np.asfortranarray(X), np.array([0, 2], dtype=">i4"), grad=True)
    swapped = client.cross_entropy(X.astype(">f4"), np.array([0, 2]), grad=True)
    doubled = np.repeat(X, 2, axis=0)[::2]
    sliced = client.cross_entropy(doubled, np.array([0, 2]), grad=True)
    for other in (fortran, swapped, sliced):
        assert other.loss == plain.loss
        assert np.array_equal(other.grad, plain.grad)


def test_lists_and_one_dimension(client):
    # As torch.tensor has it, numbers without a type are float32.
    got = client.cross_entropy([1.0, 2.0, 3.0], 2)
    assert got.loss.shape == () and got.loss.dtype == np.float32
    assert got.loss == np.float32(0.4076059644443803)
    double = client.cross_entropy(np.array([1.0, 2.0, 3.0]), 2)
    assert double.loss.dtype == np.float64
    assert np.isclose(double.loss, 0.4076059644443803, rtol=1e-15)


def test_further_outputs(client):
    got = client.cross_entropy(X, np.array([0, 2]), log_sum_exp=True, top_k=3)
    np.testing.assert_allclose(got.log_sum_exp, np.log(np.exp(X).sum(1)), rtol=1e-6)
    assert (got.positions, got.ignored, got.correct, got.correct_top_k) == (2, 0, 1, 2)
    ignored = client.cross_entropy(X, np.array([-100, -100]), empty_mean="zero")
    assert ignored.loss == 0 and ignored.ignored == 2


def test_shards_combine_to_the_bits_of_the_whole(client):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 7)).astype(np.float32)
    t = rng.integers(0, 7, 50)
    whole = client.cross_entropy(x, t, grad=True)
    parts = [client.cross_entropy(x[i:i + 9], t[i:i + 9]) for i in range(0, 50, 9)]
    _, loss = client.combine([part.summary for part in reversed(parts)])
    assert loss.tobytes() == whole.loss.tobytes()
    grad = np.concatenate([client.cross_entropy(x[i:i + 9], t[i:i + 9], normalizer=50.0,
                                                grad=True).grad for i in range(0, 50, 9)])
    assert grad.tobytes() == whole.grad.tobytes()
    with pytest.raises(lossd.InvalidArgument, match="SUMMARY_MISMATCH"):
        client.combine([parts[0].summary,
                        client.cross_entropy(x, t, reduction="sum").summary])


def test_server_info(client):
    info = client.server_info()
    assert info.version and info.threads == 2 and info.limits.max_classes >= 1 << 20


def test_tries_again_what_can_be_replayed():
    """A server that cannot be reached is asked four times, within the time that a call may take."""
    asked = []
    big = np.zeros((2, 125000), np.float32)

    def refuse(_request, context):
        asked.append(1)
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    class Away(service_pb2_grpc.LossServiceServicer):
        def GetServerInfo(self, request, context):
            if len(asked) < 2:
                refuse(request, context)
            return service_pb2.GetServerInfoResponse(version="3rd")

        Evaluate = EvaluateStream = staticmethod(refuse)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_LossServiceServicer_to_server(Away(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with lossd.Client(f"127.0.0.1:{port}", timeout=30) as client:
        assert client.server_info().version == "3rd"
        for transport, timeout, attempts in (("unary", 30, 4), ("stream", 30, 4),
                                             ("stream", 0.5, 3)):
            asked.clear()
            with pytest.raises(lossd.Unavailable):
                client.cross_entropy(big, np.zeros(2, int), transport=transport, timeout=timeout)
            assert len(asked) == attempts
    server.stop(None)
