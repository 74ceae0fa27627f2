"""lossd.torch beside torch's own losses: values, gradients, types, warnings."""

import itertools
import warnings

import pytest
import torch
from torch.nn import functional as own

import lossd
from lossd import torch as remote

F32, F64, F16, BF16 = torch.float32, torch.float64, torch.float16, torch.bfloat16
SHAPES = [(5,), (1,), (3, 5), (4, 1), (2, 5, 3), (2, 4, 2, 3), (2, 3, 1, 2, 2)]
REDUCTIONS = ["none", "mean", "sum"]
TOLERANCE = {F64: 1e-12, F32: 2e-6, F16: 4e-3, BF16: 3e-2}


@pytest.fixture(autouse=True)
def address(server, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", server.tcp)
    torch.manual_seed(3)


def labels_for(shape, ignored=False):
    classes, positions = shape[min(1, len(shape) - 1)], list(shape)
    del positions[min(1, len(shape) - 1)]
    labels = torch.randint(0, classes, positions)
    if ignored and positions:
        labels.view(-1)[0] = -100
    return labels


def leaf(tensor):
    return None if tensor is None else tensor.detach().clone().requires_grad_()


def outcome(loss_of, tensors, incoming=None):
    """The loss, and the gradients of those tensors that are to have one."""
    tensors = [leaf(one) if one is not None and one.is_floating_point() else one
               for one in tensors]
    loss = loss_of(*tensors)
    wanted = [one for one in tensors if one is not None and one.requires_grad]
    incoming = torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype).reshape(loss.shape)
    return [loss, *torch.autograd.grad(loss, wanted, incoming)]


def agree(got, expected, dtype):
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype],
                                   equal_nan=True)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_labels(shape, dtype):
    """The weight takes no gradient: torch has none for labels."""
    x, labels = torch.randn(shape, dtype=dtype), labels_for(shape, ignored=True)
    classes = shape[min(1, len(shape) - 1)]
    for reduction, smoothing, weighted in itertools.product(REDUCTIONS, (0.0, 0.2), (True, False)):
        weight = torch.rand(classes).to(dtype) + 0.5 if weighted else None
        options = {"reduction": reduction, "weight": weight}
        agree(outcome(lambda x, o=options, s=smoothing: remote.functional.cross_entropy(
                  x, labels, label_smoothing=s, **o), [x]),
              outcome(lambda x, o=options, s=smoothing: own.cross_entropy(
                  x, labels, label_smoothing=s, **o), [x]), dtype)
        agree(outcome(lambda x, o=options: remote.functional.nll_loss(x, labels, **o), [x]),
              outcome(lambda x, o=options: own.nll_loss(x, labels, **o), [x]), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_probabilities(shape, dtype):
    x = torch.randn(shape, dtype=dtype)
    target = torch.randn(shape).softmax(min(1, len(shape) - 1)).to(dtype)
    weight = torch.rand(shape[min(1, len(shape) - 1)]).to(dtype) + 0.5
    for reduction, smoothing in itertools.product(REDUCTIONS, (0.0, 0.2)):
        options = {"reduction": reduction, "label_smoothing": smoothing}
        for tensors in ([x, target, weight], [x, target]):
            agree(outcome(lambda *t, o=options: remote.functional.cross_entropy(*t, **o), tensors),
                  outcome(lambda *t, o=options: own.cross_entropy(*t, **o), tensors), dtype)


@pytest.mark.parametrize(("first", "second", "third"), [
    types for types in itertools.product(TOLERANCE, repeat=3) if len(set(types)) > 1])
def test_probabilities_of_other_types(first, second, third):
    tensors = [torch.randn(3, 4).to(first), torch.rand(3, 4).to(second), torch.rand(4).to(third)]
    common = max(TOLERANCE[one] for one in (first, second, third))
    for mine, theirs in zip(outcome(remote.functional.cross_entropy, tensors),
                            outcome(own.cross_entropy, tensors), strict=True):
        assert mine.dtype == theirs.dtype
        torch.testing.assert_close(mine, theirs, rtol=common, atol=common)


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
def test_legacy_arguments_and_their_warnings(size_average, reduce):
    x, labels = torch.randn(3, 5), torch.tensor([1, 4, 0])
    legacy = {"size_average": size_average, "reduce": reduce}
    pairs = [(lambda: remote.CrossEntropyLoss(**legacy)(x, labels),
              lambda: torch.nn.CrossEntropyLoss(**legacy)(x, labels)),
             (lambda: remote.NLLLoss(**legacy)(x, labels),
              lambda: torch.nn.NLLLoss(**legacy)(x, labels)),
             (lambda: remote.functional.cross_entropy(x, labels, **legacy),
              lambda: own.cross_entropy(x, labels, **legacy)),
             (lambda: remote.functional.nll_loss(x, labels, reduction="elementwise_mean"),
              lambda: own.nll_loss(x, labels, reduction="elementwise_mean"))]
    for mine, theirs in pairs:
        got = []
        for call in (mine, theirs):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                got.append((call(), [(one.category, str(one.message)) for one in caught]))
        agree([got[0][0]], [got[1][0]], F32)
        assert got[0][1] == got[1][1]


def test_modules_are_torchs_own(server):
    weight = torch.rand(5)
    module = remote.CrossEntropyLoss(weight, ignore_index=2, reduction="sum", label_smoothing=0.3)
    theirs = torch.nn.CrossEntropyLoss(weight, ignore_index=2, reduction="sum",
                                       label_smoothing=0.3)
    assert isinstance(module, torch.nn.CrossEntropyLoss) and str(module) == str(theirs)
    module.load_state_dict(theirs.state_dict())
    x, labels = torch.randn(4, 5), torch.tensor([1, 2, 0, 4])
    agree([module(x, labels)], [theirs(x, labels)], F32)
    with lossd.Client(server.unix) as client:
        own_client = remote.NLLLoss(torch.rand(5), client=client)
        assert own_client.double()(x.double(), labels).dtype == F64


def test_torchs_leniencies():
    x = torch.randn(5)
    for reduction in REDUCTIONS:
        agree([remote.functional.cross_entropy(x, torch.tensor([2]), reduction=reduction)],
              [own.cross_entropy(x, torch.tensor([2]), reduction=reduction)], F32)
    agree([remote.functional.cross_entropy(x, x.softmax(0), ignore_index=-7)],
          [own.cross_entropy(x, x.softmax(0), ignore_index=-7)], F32)
    y = torch.tensor([1, 2, 0], dtype=torch.uint8)
    x = torch.randn(5, 3).t()
    agree([remote.functional.cross_entropy(x, y)], [own.cross_entropy(x, y)], F32)
    agree([remote.functional.cross_entropy(x[:0], y[:0])], [own.cross_entropy(x[:0], y[:0])], F32)
