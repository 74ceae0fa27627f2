"""lossd.torch where something is wrong: shapes, servers, processes."""

import os
import subprocess
import sys
import time

import pytest
import torch

import lossd
from lossd import _handles
from lossd.torch import CrossEntropyLoss
from lossd.torch.functional import cross_entropy, nll_loss

X = torch.randn(3, 5)
Y = torch.tensor([0, 1, 2])

WRONG = {
    "fewer labels": (lambda: cross_entropy(X, Y[:2]), "target.shape", r"expected \(3,\).*got \(2,"),
    "labels of shape (N, 1)": (lambda: cross_entropy(X, Y[:, None]), "target.shape", "got .3, 1"),
    "a scalar": (lambda: cross_entropy(torch.tensor(1.0), torch.tensor(0)), "input.shape",
                 "scalar"),
    "other probabilities": (lambda: cross_entropy(X, X[:, :4]), "target.shape", r"got \(3, 4\)"),
    "weight": (lambda: cross_entropy(X, Y, torch.ones(4)), "weight.shape", r"got \(4,\)"),
    "weight of another type": (lambda: cross_entropy(X, Y, torch.ones(5).double()),
                               "weight.dtype", "float64"),
    "integer logits": (lambda: cross_entropy(X.long(), Y), "input.dtype", "int64"),
    "no tensor": (lambda: cross_entropy(X.numpy(), Y), "input", "torch.Tensor"),
    "probabilities for nll_loss": (lambda: nll_loss(X, X), "target.dtype", "class indices"),
}


@pytest.fixture(autouse=True)
def address(server, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", server.tcp)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_without_a_server(name, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", "127.0.0.1:1")
    call, field, words = WRONG[name]
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert isinstance(caught.value, lossd.InvalidArgument) and caught.value.field == field


def test_what_the_server_refuses():
    with pytest.raises(lossd.InvalidArgument, match=r"target\[1\]: expected a class in \[0, 5\)"):
        cross_entropy(X, torch.tensor([0, 5, 1]))
    with pytest.raises(lossd.InvalidArgument, match="label_smoothing"):
        cross_entropy(X, Y, label_smoothing=1.5)
    with pytest.raises(lossd.InvalidArgument, match="ignore_index"):
        cross_entropy(X, X.softmax(1), ignore_index=2)
    with pytest.raises(ValueError, match="max is not a valid value for reduction"):
        cross_entropy(X, Y, reduction="max")


@pytest.mark.parametrize("compiled", [False, True])
def test_a_server_that_is_down(compiled, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", "127.0.0.1:1")
    loss = torch.compile(cross_entropy, fullgraph=True, backend="aot_eager") if compiled else (
        cross_entropy)
    started = time.monotonic()
    with pytest.raises(lossd.Unavailable, match="127.0.0.1:1"):
        loss(X.clone().requires_grad_(), Y)
    assert time.monotonic() - started < 60


def test_a_server_that_goes_before_backward(server):
    client = lossd.Client(server.tcp)
    loss = cross_entropy(X.clone().requires_grad_(), Y, reduction="none", client=client)
    client.close()
    with pytest.raises(lossd.ClientClosed):
        loss.sum().backward()


def test_a_client_lives_as_long_as_the_graph(server):
    x = X.clone().requires_grad_()
    loss = cross_entropy(x, Y, reduction="none", client=lossd.Client(server.tcp))
    loss.sum().backward()
    assert x.grad.shape == x.shape
    with pytest.raises(lossd.ClientClosed, match="no more"):
        _handles.find("client-0")


def test_one_client_for_an_address(server, monkeypatch):
    first = _handles.find(_handles.DEFAULT)
    assert _handles.find(_handles.DEFAULT) is first
    monkeypatch.setenv("LOSSD_ADDRESS", server.unix)
    assert _handles.find(_handles.DEFAULT) is not first


def test_a_forked_process_has_its_own():
    mine = _handles.find(_handles.DEFAULT)
    expected = CrossEntropyLoss()(X, Y)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        own = _handles.find(_handles.DEFAULT) is not mine
        os.write(write, b"same" if own and CrossEntropyLoss()(X, Y) == expected else b"other")
        os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b"same"
    os.waitpid(child, 0)
    assert CrossEntropyLoss()(X, Y) == expected


def test_lossd_alone_imports_no_framework():
    code = "import lossd, sys; print([n for n in ('torch', 'jax') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
