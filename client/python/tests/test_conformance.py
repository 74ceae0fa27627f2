"""The conformance vectors and the worked examples, through the Python client."""

import collections
import hashlib
import json
import math
import os

import ml_dtypes
import numpy as np
import pytest
from conftest import ROOT

import lossd

VECTORS = [json.loads(line)
           for path in sorted((ROOT / "tests/conformance").glob("*.jsonl"))
           for line in path.read_text().splitlines()]
WORKED = json.loads((ROOT / "tests/conformance/worked_examples.json").read_text())["cases"]
TOLERANCE = {"float64": (1e-13, 1e-13), "float32": (3e-7, 1e-7), "float16": (2.0**-10, 2.0**-24),
             "bfloat16": (2.0**-7, 1e-9)}


def array(values, dtype, shape):
    dtype = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    if dtype.kind in "iu":
        return np.array(values, dtype=dtype).reshape(shape)
    return np.array([float(v) for v in values], dtype=np.float64).astype(dtype).reshape(shape)


def check(name, got, values, dtype):
    expected = np.array([float(v) for v in values])
    relative, absolute = TOLERANCE[dtype]
    np.testing.assert_allclose(np.asarray(got, dtype=np.float64).reshape(-1), expected,
                               rtol=relative, atol=absolute, err_msg=name)


def arguments(case):
    shape = case["shape"]
    kwargs = {key: case[key] for key in ("class_axis", "ignore_index", "label_smoothing",
                                         "reduction") if key in case}
    target = case["target"]
    if "weight" in case:
        weight = case["weight"]
        kwargs["weight"] = array(weight["values"], weight["dtype"], len(weight["values"]))
    if "grad_output" in case:
        grad = case["grad_output"]
        loss_shape = () if case["reduction"] != "none" else positions(case)
        kwargs["grad_output"] = array(grad["values"], grad["dtype"], loss_shape)
    for name in ("grad_target", "grad_weight"):
        if name in case["expect"]:
            kwargs[name] = True
    return (array(case["input"], case["dtype"], shape),
            array(target["values"], target["dtype"], target["shape"])), kwargs


def positions(case):
    shape = list(case["shape"])
    del shape[case.get("class_axis", min(1, len(shape) - 1))]
    return shape


def test_there_are_enough():
    counts = collections.Counter(case.get("criterion", "cross_entropy") for case in VECTORS)
    assert counts["cross_entropy"] >= 600 and counts["nll_loss"] >= 100


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_every_vector(server, transport):
    with lossd.Client(server.unix if transport == "unary" else server.tcp) as client:
        for case in VECTORS:
            (x, t), kwargs = arguments(case)
            evaluate = getattr(client, case.get("criterion", "cross_entropy"))
            got = evaluate(x, t, grad=True, transport=transport, chunk_bytes=24, **kwargs)
            expect = case["expect"]
            loss_dtype = "float64" if case["dtype"] == "float64" else "float32"
            assert got.loss.dtype == loss_dtype, case["name"]
            assert got.grad.shape == x.shape and got.grad.dtype == x.dtype, case["name"]
            check(case["name"], got.loss, expect["loss"], loss_dtype)
            check(case["name"], got.grad, expect["grad_input"], case["dtype"])
            if "grad_target" in expect:
                check(case["name"], got.grad_target, expect["grad_target"],
                      case["target"]["dtype"])
            if "grad_weight" in expect:
                check(case["name"], got.grad_weight, expect["grad_weight"],
                      case["weight"]["dtype"])


def test_every_vector_through_one_call(server):
    with lossd.Client(server.tcp) as client:
        for case, got in zip(VECTORS, many(client), strict=True):
            check(case["name"], got.loss, case["expect"]["loss"],
                  "float64" if case["dtype"] == "float64" else "float32")
            check(case["name"], got.grad, case["expect"]["grad_input"], case["dtype"])


def many(client):
    """The results of all vectors through EvaluateMany, a call for each criterion."""
    results = {}
    for criterion in ("cross_entropy", "nll_loss"):
        cases = [case for case in VECTORS if case.get("criterion", "cross_entropy") == criterion]
        problems = []
        for case in cases:
            (x, t), kwargs = arguments(case)
            problems.append({"input": x, "target": t, "grad": True, **kwargs})
        answers = getattr(client, f"{criterion}_many")(problems)
        results |= {case["name"]: answer for case, answer in zip(cases, answers, strict=True)}
    return [results[case["name"]] for case in VECTORS]


def digest(got):
    """Of the bytes of the loss and the gradients, in the order that all languages keep."""
    arrays = (got.loss, got.grad, got.grad_target, got.grad_weight)
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays if a is not None)).hexdigest()


def test_the_results_are_the_same_bits_by_every_way(server):
    """CONFORMANCE_RESULTS: where they are written, for scripts/test-clients to compare."""
    lines = []
    with lossd.Client(server.tcp) as client:
        for case, answer in zip(VECTORS, many(client), strict=True):
            (x, t), kwargs = arguments(case)
            evaluate = getattr(client, case.get("criterion", "cross_entropy"))
            digests = [digest(evaluate(x, t, grad=True, transport=transport, chunk_bytes=24,
                                       **kwargs)) for transport in ("unary", "stream")]
            digests.append(digest(answer))
            assert len(set(digests)) == 1, case["name"]
            lines += [f"{case['name']} {way} {bits}\n"
                      for way, bits in zip(("unary", "stream", "many"), digests, strict=True)]
    if "CONFORMANCE_RESULTS" in os.environ:
        with open(os.environ["CONFORMANCE_RESULTS"], "w") as results:
            results.writelines(lines)


def test_worked_examples(server):
    with lossd.Client(server.tcp) as client:
        for case in WORKED:
            kwargs = {"weight": np.float32(case["weight"])} if "weight" in case else {}
            got = client.cross_entropy(np.float32(case["input"]), np.array(case["target"]),
                                       reduction=case["reduction"],
                                       ignore_index=case.get("ignore_index", -100), **kwargs)
            np.testing.assert_allclose(got.loss, case["loss"], atol=1e-4, err_msg=case["name"])


def test_stream_and_unary_agree_on_large_tensors(server):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 4000)).astype(np.float32)
    t = rng.integers(0, 4000, 64)
    with lossd.Client(server.tcp) as client:
        one = client.cross_entropy(x, t, grad=True, transport="unary")
        for chunk_bytes in (999, 4096, 1 << 20):
            other = client.cross_entropy(x, t, grad=True, transport="stream",
                                         chunk_bytes=chunk_bytes)
            assert one.loss.tobytes() == other.loss.tobytes()
            assert one.grad.tobytes() == other.grad.tobytes()
        auto = client.cross_entropy(np.tile(x, (4, 1)), np.tile(t, 4), grad=True)
        assert math.isclose(auto.loss, one.loss, rel_tol=1e-6)
