"""Servers of EvaluateMany that answer in any order, late, wrongly, or go away."""

import contextlib
import queue
import threading

import grpc
import numpy as np
import pytest
from conftest import LABELS, X, serving
from google.rpc import status_pb2

import lossd
from lossd.v1 import criterion_pb2, service_pb2, service_pb2_grpc, tensor_pb2

F32 = tensor_pb2.DATA_TYPE_FLOAT32
Response = service_pb2.EvaluateManyResponse
PROBLEMS = [{"input": X, "target": LABELS} for _ in range(1000)]


def answer(number, **changes):
    """An answer whose loss is its id."""
    return Response(id=number, response=service_pb2.EvaluateResponse(**{
        "loss": tensor_pb2.Tensor(dtype=F32, raw=np.float32(number).tobytes()),
        "summary": criterion_pb2.Summary(dtype=F32, positions=2, classes=3), **changes}))


@contextlib.contextmanager
def answered(many):
    """A client of a server whose EvaluateMany is many(requests, context)."""
    class Canned(service_pb2_grpc.LossServiceServicer):
        EvaluateMany = staticmethod(many)

    with serving(Canned()) as address, lossd.Client(address, timeout=20) as client:
        yield client


def losses(results):
    return [float(result.loss) for result in results]


def in_background(requests):
    """A queue of the requests' ids, and None after the last one."""
    ids = queue.Queue()

    def read():
        with contextlib.suppress(grpc.RpcError):
            for request in requests:
                ids.put(request.id)
        ids.put(None)

    threading.Thread(target=read, daemon=True).start()
    return ids


class Late:
    """Answers when nothing comes any more, the last first.

    Attributes:
        most: problems that it has held at a time.
    """

    def __init__(self):
        self.most = 0

    def __call__(self, requests, _):
        ids = in_background(requests)
        held = []
        while True:
            number = None
            with contextlib.suppress(queue.Empty):
                number = ids.get(timeout=0.5)
            if number is not None:
                held.append(number)
                self.most = max(self.most, len(held))
            elif held:
                yield from map(answer, reversed(held))
                held = []
            else:
                return


def test_answers_in_any_order_and_no_more_than_the_window_on_the_way():
    late = Late()
    with answered(late) as client:
        assert losses(client.cross_entropy_many(PROBLEMS)) == list(range(1000))
    assert late.most == 128


def test_the_data_on_the_way_are_bounded():
    """8 MiB: a window of large problems would be too much for the server at once."""
    late = Late()
    large = {"input": np.zeros((2, 1 << 15), np.float32), "target": LABELS.astype(np.int8)}
    with answered(late) as client:
        client._limits = service_pb2.Limits(max_message_bytes=4 << 20)
        assert losses(client.cross_entropy_many([large] * 100)) == list(range(100))
    assert late.most == 31  # 256 KiB each, and labels.


def test_a_call_that_breaks_is_made_again_with_what_is_open():
    calls = []

    def breaks(requests, context):
        calls.append(0)
        for request in requests:
            calls[-1] += 1
            early = len(calls) <= 3
            if early and calls[-1] % 2 == 0 and calls[-1] <= 100:
                continue  # Left open: it has to come again.
            yield answer(request.id)
            if early and calls[-1] >= 111:
                context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    with answered(breaks) as client:
        assert losses(client.cross_entropy_many(PROBLEMS[:500])) == list(range(500))
    assert len(calls) == 4


def test_a_call_that_breaks_again_and_again_is_given_up():
    calls = []

    def breaks(requests, context):
        calls.append(next(requests).id)
        if len(calls) == 1:
            yield answer(calls[0])
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")

    with answered(breaks) as client:
        with pytest.raises(lossd.Unavailable, match="away"):
            client.cross_entropy_many(PROBLEMS)
        assert calls[1:] == [1] * 3  # The first call was an attempt for it too.
        calls.clear()
        got = client.cross_entropy_many(PROBLEMS, return_exceptions=True)
    assert float(got[0].loss) == 0 and len(got) == 1000
    assert all(isinstance(one, lossd.Unavailable) for one in got[1:])


WRONG = {
    "another id": (lambda request: [answer(77)], "the id 77, which is none"),
    "twice": (lambda request: [answer(0), answer(0)], "the id 0, which has its answer"),
    "no end": (lambda request: [], "ended before every problem was answered"),
}


@pytest.mark.parametrize("name", WRONG)
def test_calls_are_measured(name):
    replies, words = WRONG[name]
    with (answered(lambda requests, _: iter(replies(next(requests)))) as client,
          pytest.raises(lossd.UnexpectedReply, match=words)):
        client.cross_entropy_many(PROBLEMS[:1])


def test_answers_are_measured():
    with answered(lambda requests, _: (
            answer(request.id, **({} if request.id else {
                "loss": tensor_pb2.Tensor(dtype=F32, raw=bytes(3))}))
            for request in requests)) as client:
        got = client.cross_entropy_many(PROBLEMS[:3], return_exceptions=True)
    assert isinstance(got[0], lossd.UnexpectedReply) and "loss has 3 bytes" in str(got[0])
    assert got[0].field == "problems[0]" and losses(got[1:]) == [1, 2]


def test_errors_without_details_and_of_no_known_code():
    codes = [3, 8, 14, 99]
    broken = status_pb2.Status().details.add(
        type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff")
    with answered(lambda requests, _: (
            Response(id=request.id, error=status_pb2.Status(
                code=codes[request.id], message="no", details=[broken]))
            for request in requests)) as client:
        got = client.cross_entropy_many(PROBLEMS[:4], return_exceptions=True)
    assert [type(one) for one in got] == [lossd.InvalidArgument, lossd.ResourceExhausted,
                                          lossd.Unavailable, lossd.LossdError]
    assert [str(one) for one in got][:2] == ["INVALID_ARGUMENT: problems[0]: no",
                                             "RESOURCE_EXHAUSTED: problems[1]: no"]


def test_silence_ends_with_the_time_limit_or_with_close():
    ended = threading.Event()
    called = threading.Event()

    def silent(requests, context):
        context.add_callback(ended.set)
        called.set()
        yield from (answer(request.id) for request in requests if request.id < 0)

    with answered(silent) as client:
        with pytest.raises(lossd.DeadlineExceeded):
            client.cross_entropy_many(PROBLEMS, timeout=0.5)
        assert ended.wait(10)
        called.clear()
        threading.Thread(target=lambda: called.wait(10) and client.close()).start()
        with pytest.raises(lossd.LossdError):
            client.cross_entropy_many(PROBLEMS)


def test_another_service():
    with (serving(service_pb2_grpc.LossServiceServicer()) as address,
          lossd.Client(address, timeout=20) as client,
          pytest.raises(lossd.Unimplemented, match="is it a lossd server")):
        client.cross_entropy_many(PROBLEMS[:2])
