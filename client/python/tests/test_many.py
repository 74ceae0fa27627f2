"""Many problems over one call: Client.cross_entropy_many and nll_loss_many."""

import contextlib
import hashlib
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from conftest import LABELS, Server, X

import lossd

RNG = np.random.default_rng(7)
GOOD = {"input": X, "target": LABELS}


def any_problem(number):
    """Problems of several types, shapes and options."""
    dtype = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)[number % 4]
    shape = ((5,), (3, 4), (2, 3, 4), (0, 2))[number % 7 % 4]
    x = RNG.normal(size=shape).astype(dtype)
    classes = shape[min(1, len(shape) - 1)]
    if number % 3 == 0:
        return {"input": x, "target": np.abs(x), "grad": True, "grad_target": True}
    positions = shape[:1] + shape[2:] if len(shape) > 1 else ()
    return {"input": x, "target": RNG.integers(0, classes, positions), "label_smoothing": 0.1,
            "weight": np.ones(classes, x.dtype), "grad": number % 2 == 0,
            "reduction": ("none", "sum", "mean")[number % 5 % 3]}


def bits(array):
    """Short, so that pytest has no megabytes to compare where they differ."""
    return hashlib.sha256(array.tobytes()).hexdigest()


def same(got, expected):
    for name in ("loss", "grad", "grad_target"):
        mine, theirs = getattr(got, name), getattr(expected, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
            assert bits(mine) == bits(theirs)
    assert got.summary == expected.summary


def test_results_are_those_of_single_calls_in_order(client):
    problems = [any_problem(number) for number in range(600)]
    results = client.cross_entropy_many(iter(problems))
    assert len(results) == 600
    for problem, result in zip(problems, results, strict=True):
        same(result, client.cross_entropy(**problem))


def test_nll_loss(client):
    problems = [{"input": X - 9, "target": [label, 0], "grad": True, "weight": [1, 2, 3]}
                for label in (0, 1, 2)]
    for problem, result in zip(problems, client.nll_loss_many(problems), strict=True):
        same(result, client.nll_loss(**problem))
    with pytest.raises(lossd.InvalidArgument, match=r"problems\[0\].label_smoothing"):
        client.nll_loss_many([{**GOOD, "label_smoothing": 0.1}])


def test_no_problems(unconnected):
    assert unconnected.cross_entropy_many([]) == []


BAD = {
    "target[1]": ({**GOOD, "target": [0, 3]}, "LABEL_OUT_OF_RANGE"),
    "weight.shape": ({**GOOD, "weight": [1, 2]}, "SHAPE_MISMATCH"),
    "label_smoothing": ({**GOOD, "label_smoothing": 2}, "LABEL_SMOOTHING_RANGE"),
    "ignore_index": ({"input": X, "target": X, "ignore_index": 1},
                     "IGNORE_INDEX_WITH_PROBABILITIES"),
    "smoothing": ({**GOOD, "smoothing": 0.1}, ""),
    "target": ({"input": X}, "FIELD_MISSING"),
    "": (7, ""),
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_problem_has_its_own_error_in_its_place(client, field):
    bad, reason = BAD[field]
    got = client.cross_entropy_many([GOOD, GOOD, bad, GOOD], return_exceptions=True)
    assert [type(one) for one in got[:2] + got[3:]] == [lossd.LossResult] * 3
    place = f"problems[2].{field}" if field else "problems[2]"
    assert isinstance(got[2], lossd.InvalidArgument)
    assert (got[2].field, got[2].reason) == (place, reason)
    assert f"{place}: " in str(got[2])
    with pytest.raises(type(got[2])) as caught:
        client.cross_entropy_many([GOOD, GOOD, bad, GOOD])
    assert str(caught.value) == str(got[2])


def test_the_first_error_is_raised_and_ends_the_rest(client):
    """The first of the order, although one that the server finds is known later."""
    asked = []

    def problems():
        for number in range(10000):
            asked.append(number)
            yield {100: {**GOOD, "target": [0, 3]}, 105: {"input": X}}.get(number, GOOD)

    with pytest.raises(lossd.InvalidArgument, match="LABEL_OUT_OF_RANGE") as caught:
        client.cross_entropy_many(problems())
    assert caught.value.field == "problems[100].target[1]"
    assert 100 < len(asked) <= 106


@pytest.mark.parametrize("problems", [GOOD, 3, None, "problems"])
def test_what_is_not_several_problems(unconnected, problems):
    with pytest.raises(lossd.InvalidType, match="expected several mappings"):
        unconnected.cross_entropy_many(problems)


def test_a_problem_that_fits_no_message_goes_alone(client):
    rows = 1200
    big = {"input": RNG.normal(size=(rows, 1000)).astype(np.float32),
           "target": RNG.integers(0, 1000, rows), "grad": True}
    got = client.cross_entropy_many([GOOD, big, GOOD])
    for problem, result in zip((GOOD, big, GOOD), got, strict=True):
        same(result, client.cross_entropy(**problem))
    bad = {**big, "target": np.full(rows, 1000)}
    got = client.cross_entropy_many([GOOD, bad], return_exceptions=True)
    assert got[1].field == "problems[1].target[0]"


def test_an_iterable_that_raises(client):
    def problems():
        yield GOOD
        time.sleep(0.5)  # gRPC's thread has sent it and waits for the next one.
        raise KeyError("mine")

    threads = set(threading.enumerate())
    with pytest.raises(KeyError, match="mine"):
        client.cross_entropy_many(problems())
    waited_until = time.monotonic() + 20
    while not set(threading.enumerate()) <= threads and time.monotonic() < waited_until:
        time.sleep(0.05)
    assert set(threading.enumerate()) <= threads
    assert client.cross_entropy_many([GOOD])[0].positions == 2


def test_an_iterable_that_takes_its_time():
    """The server ends calls on which nothing moves; the next problem opens another one."""
    server = Server("--idle-stream", "0.3")

    def problems():
        for _ in range(3):
            yield GOOD
            time.sleep(1)

    with lossd.Client(server.tcp, timeout=60) as client:
        assert len(client.cross_entropy_many(problems())) == 3
    assert server.stop() == 0


def test_a_server_that_is_not_there(unconnected):
    with pytest.raises(lossd.Unavailable, match="127.0.0.1:1"):
        unconnected.cross_entropy_many([GOOD], timeout=20)
    got = unconnected.cross_entropy_many([GOOD, {"input": X}, GOOD], return_exceptions=True,
                                         timeout=20)
    assert [type(one) for one in got] == [lossd.Unavailable, lossd.InvalidArgument,
                                          lossd.Unavailable]


def test_a_server_that_goes_in_the_middle():
    for keep in (False, True):
        server = Server()

        def problems(server=server):
            for number in range(2000):
                if number == 1000:
                    server.process.kill()
                    server.process.wait()
                yield GOOD

        with lossd.Client(server.tcp, timeout=60) as client:
            if keep:
                got = client.cross_entropy_many(problems(), return_exceptions=True)
                assert len(got) == 2000
                assert all(isinstance(one, lossd.LossResult) for one in got[:800])
                assert all(isinstance(one, lossd.Unavailable) for one in got[1000:])
            else:
                with pytest.raises(lossd.Unavailable):
                    client.cross_entropy_many(problems())
        server.stop()


def test_time_limits_and_closed_clients(client, server):
    def slow():
        yield GOOD
        time.sleep(0.5)
        yield GOOD

    with pytest.raises(lossd.DeadlineExceeded):
        client.cross_entropy_many(slow(), timeout=0.3)
    got = client.cross_entropy_many(slow(), timeout=0.3, return_exceptions=True)
    assert isinstance(got[1], lossd.DeadlineExceeded)
    with pytest.raises(lossd.DeadlineExceeded, match="no time was left"):
        client.cross_entropy_many([GOOD], timeout=0)
    closed = lossd.Client(server.tcp)
    closed.close()
    with pytest.raises(lossd.ClientClosed):
        closed.cross_entropy_many([GOOD])


def test_several_threads_at_once(client):
    done = []

    def work():
        with contextlib.suppress(lossd.LossdError):
            done.append(len(client.cross_entropy_many([GOOD] * 300)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [300] * 4
