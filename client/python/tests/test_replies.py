"""Servers that are not lossd, answers that do not fit, clients that were closed, time limits."""

import contextlib
import http.server
import math
import threading
import time

import grpc
import numpy as np
import pytest
from conftest import LABELS, X, serving
from google.rpc import error_details_pb2, status_pb2

import lossd
from lossd.v1 import criterion_pb2, service_pb2, service_pb2_grpc, tensor_pb2

DETAILS = "grpc-status-details-bin"
F32 = tensor_pb2.DATA_TYPE_FLOAT32
F64 = tensor_pb2.DATA_TYPE_FLOAT64


class Canned(service_pb2_grpc.LossServiceServicer):
    """Answers each call with what it was made with."""

    def __init__(self, answer):
        self.answer = answer

    def Evaluate(self, request, context):
        return self.answer(context)

    Combine = GetServerInfo = Evaluate

    def EvaluateStream(self, requests, context):
        for _ in requests:
            pass
        yield from self.answer(context)


@contextlib.contextmanager
def answered(answer):
    """A client of a server that always answers so."""
    with serving(Canned(answer)) as address, lossd.Client(address, timeout=20) as client:
        yield client


def summary(**changes):
    return criterion_pb2.Summary(**{"dtype": F32, "positions": 2, "classes": 3, **changes})


def scalar(**changes):
    return tensor_pb2.Tensor(**{"dtype": F32, "raw": bytes(4), **changes})


RESPONSES = {
    "nothing": ({}, "loss is missing"),
    "no gradient": ({"loss": scalar(), "summary": summary()}, "grad_input is missing"),
    "no summary": ({"loss": scalar(), "grad_input": scalar(shape=[2, 3], raw=bytes(24))},
                   "summary is missing"),
    "short": ({"loss": scalar(raw=bytes(3))}, "loss has 3 bytes, expected 4"),
    "typed": ({"loss": tensor_pb2.Tensor(
        dtype=F32, float_values=tensor_pb2.FloatValues(values=[1]))}, "loss has 0 bytes"),
    "another type": ({"loss": scalar(dtype=F64, raw=bytes(8))}, "loss is float64 of shape ()"),
    "no type": ({"loss": scalar(dtype=99)}, "loss is of no known type"),
    "another shape": ({"loss": scalar(shape=[1])}, "loss is float32 of shape (1,)"),
    "huge shape": ({"loss": scalar(shape=[1 << 62, 1 << 62])}, "loss is float32 of shape (4611"),
    "other positions": ({"loss": scalar(), "summary": summary(positions=3), "grad_input": scalar(
        shape=[2, 3], raw=bytes(24))}, "summary.positions is 3, expected 2"),
    "other logits": ({"loss": scalar(), "summary": summary(dtype=F64), "grad_input": scalar(
        shape=[2, 3], raw=bytes(24))}, "summary.dtype is float64, expected float32"),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_are_measured(name):
    fields, words = RESPONSES[name]
    with answered(lambda _: service_pb2.EvaluateResponse(**fields)) as client:
        with pytest.raises(lossd.UnexpectedReply) as caught:
            client.cross_entropy(X, LABELS, grad=True)
        assert words in str(caught.value) and isinstance(caught.value, RuntimeError)


STREAMS = {
    "nothing": ([], "loss is cut short: 0 bytes, expected 4"),
    "no summary": ([{"loss": bytes(4), "grad_input": bytes(24)}], "summary is missing"),
    "short": ([{"grad_input": bytes(20)}, {"loss": bytes(4), "summary": summary()}],
              "grad_input is cut short: 20 bytes, expected 24"),
    "long": ([{"grad_input": bytes(20)}, {"grad_input": bytes(5)}],
             "grad_input has at least 25 bytes, expected 24"),
    "not asked for": ([{"log_sum_exp": bytes(4)}], "log_sum_exp has at least 4 bytes, expected 0"),
    "goes on": ([{"summary": summary()}, {"loss": bytes(4)}], "something follows the summary"),
    "other positions": ([{"loss": bytes(4), "grad_input": bytes(24),
                          "summary": summary(positions=1)}], "summary.positions is 1"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_measured(name):
    replies, words = STREAMS[name]
    with answered(lambda _: [service_pb2.EvaluateStreamResponse(**reply)
                             for reply in replies]) as client:
        with pytest.raises(lossd.UnexpectedReply) as caught:
            client.cross_entropy(X, LABELS, grad=True, transport="stream")
        assert words in str(caught.value)


def test_an_answer_that_does_not_fit_ends_the_call():
    ended = threading.Event()

    def endless(context):
        context.add_callback(ended.set)
        while True:
            yield service_pb2.EvaluateStreamResponse(loss=bytes(5))

    with answered(endless) as client:
        with pytest.raises(lossd.UnexpectedReply) as caught:
            client.cross_entropy(X, LABELS, transport="stream")
        assert ended.wait(10)
        del caught  # It has kept the call from being ended by the garbage collector.


def test_answers_of_combine_are_measured():
    loss = tensor_pb2.Tensor(dtype=F32, float_values=tensor_pb2.FloatValues(values=[1, 2]))
    for response, words in (({}, "summary is missing"), ({"summary": summary()}, "loss is missing"),
                            ({"summary": summary(), "loss": loss}, "loss has 2 values"),
                            ({"summary": summary(), "loss": scalar()}, "loss has 0 values")):
        with (answered(lambda _, r=response: service_pb2.CombineResponse(**r)) as client,
              pytest.raises(lossd.UnexpectedReply, match=words)):
            client.combine([summary()])


def every_call(client):
    """Each of a client's calls, to be made."""
    return [lambda: client.cross_entropy(X, LABELS, transport="unary"),
            lambda: client.cross_entropy(X, LABELS, transport="stream"),
            lambda: client.cross_entropy(np.zeros((300, 300), np.float32), np.zeros(300, int)),
            lambda: client.combine([summary()]), client.server_info]


def test_another_service():
    with (serving(service_pb2_grpc.LossServiceServicer()) as address,
          lossd.Client(address, timeout=20) as client):
        for call in every_call(client):
            with pytest.raises(lossd.Unimplemented, match="is it a lossd server") as caught:
                call()
            assert isinstance(caught.value, NotImplementedError)


def test_a_server_of_web_pages():
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    with lossd.Client(f"127.0.0.1:{pages.server_port}", timeout=20) as client:
        for call in every_call(client):
            with pytest.raises(lossd.LossdError):
                call()
    pages.shutdown()
    pages.server_close()


def any_of(*details):
    status = status_pb2.Status()
    for detail in details:
        status.details.add().Pack(detail)
    return status


BROKEN = status_pb2.Status()
BROKEN.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff")


@pytest.mark.parametrize(("details", "field"), [
    (b"\xff\xff not a message", ""), (b"", ""), (BROKEN.SerializeToString(), ""),
    (any_of(error_details_pb2.BadRequest()).SerializeToString(), ""),
    (any_of(error_details_pb2.BadRequest(field_violations=[{
        "field": "header.criterion.cross_entropy.weight.shape"}])).SerializeToString(),
     "weight.shape"),
    (any_of(error_details_pb2.BadRequest(field_violations=[{
        "field": "outputs.grad_input"}])).SerializeToString(), "grad")])
@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_details_of_any_kind(details, field, transport):
    def refuse(context):
        context.set_trailing_metadata(((DETAILS, details), ("some-bin", b"\xff")))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    with answered(refuse) as client:
        with pytest.raises(lossd.InvalidArgument, match="INVALID_ARGUMENT: no") as caught:
            client.cross_entropy(X, LABELS, transport=transport)
        assert (caught.value.field, caught.value.reason) == (field, "")


def test_retry_after():
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)

    def refuse(context):
        context.set_trailing_metadata(((DETAILS, any_of(
            error_details_pb2.ErrorInfo(reason="MEMORY_BUSY"), retry).SerializeToString()),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")

    with answered(refuse) as client:
        with pytest.raises(lossd.ResourceExhausted, match=r"busy \[MEMORY_BUSY\]") as caught:
            client.cross_entropy(X, LABELS)
        assert caught.value.retry_after == 1.5


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
def test_every_code_is_an_error_of_the_package(code):
    with answered(lambda context: context.abort(code, "no")) as client:
        for transport in ("unary", "stream"):
            with pytest.raises(lossd.LossdError) as caught:
                client.cross_entropy(X, LABELS, transport=transport, timeout=20)
            assert caught.value.code is code
            alike = {"DEADLINE_EXCEEDED": TimeoutError, "UNAVAILABLE": ConnectionError,
                     "PERMISSION_DENIED": PermissionError, "UNAUTHENTICATED": PermissionError,
                     "INVALID_ARGUMENT": ValueError, "FAILED_PRECONDITION": RuntimeError}
            assert isinstance(caught.value, alike.get(code.name, Exception))


def test_a_closed_client(server):
    client = lossd.Client(server.tcp)
    assert client.cross_entropy(X, LABELS).positions == 2
    client.close()
    client.close()
    for call in every_call(client):
        with pytest.raises(lossd.ClientClosed, match="closed") as caught:
            call()
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_closing_ends_the_calls_in_flight(transport):
    called = threading.Event()

    def slow(_):
        called.set()
        time.sleep(2)
        return iter(())

    with answered(slow) as client:
        closing = threading.Thread(target=lambda: called.wait(10) and client.close())
        closing.start()
        with pytest.raises(lossd.LossdError):
            client.cross_entropy(X, LABELS, transport=transport)
        closing.join()


def test_time_limits(server):
    for limit in (math.inf, 1e300, None, 60, np.float32(60), np.array(60)):
        with lossd.Client(server.tcp, timeout=limit) as client:
            for transport in ("unary", "stream"):
                assert client.cross_entropy(X, LABELS, transport=transport).positions == 2
                assert client.cross_entropy(X, LABELS, timeout=limit,
                                            transport=transport).positions == 2
    with lossd.Client(server.tcp) as client:
        for transport in ("auto", "unary", "stream"):
            with pytest.raises(lossd.DeadlineExceeded, match="no time was left") as caught:
                client.cross_entropy(X, LABELS, transport=transport, timeout=0)
            assert isinstance(caught.value, TimeoutError)


def test_a_message_above_the_limit_says_so(client):
    big = np.zeros((1500, 1000), np.float32)
    with pytest.raises(lossd.ResourceExhausted, match='larger than max.*transport="stream"'):
        client.cross_entropy(big, np.zeros(1500, int), transport="unary")


def test_a_problem_above_every_limit_says_so(unconnected, monkeypatch):
    monkeypatch.setattr(lossd._client, "_LARGEST_LIMIT", 39)
    with pytest.raises(lossd.ResourceExhausted, match="LIMIT_EXCEEDED") as caught:
        unconnected.cross_entropy(X, LABELS, transport="unary")
    assert caught.value.field == "input" and "40 bytes" in str(caught.value)
