"""lossd.torch under autograd, torch.compile, autocast and on devices that are not there."""

import copy
import pickle

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as own

import lossd
from lossd import torch as remote
from lossd.torch.functional import cross_entropy, nll_loss

REDUCTIONS = ["none", "mean", "sum"]
LABELS = torch.tensor([1, 4, -100])


@pytest.fixture(autouse=True)
def address(server, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", server.tcp)
    torch.manual_seed(5)


def double(*shape):
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


@pytest.fixture
def calls(monkeypatch):
    """The gradients that each call of the server asks for."""
    seen = []
    evaluate = lossd.Client.cross_entropy

    def noted(self, *arguments, **options):
        seen.append([name for name in ("grad", "grad_target", "grad_weight") if options.get(name)])
        return evaluate(self, *arguments, **options)

    monkeypatch.setattr(lossd.Client, "cross_entropy", noted)
    return seen


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck(reduction, smoothing):
    options = {"reduction": reduction, "label_smoothing": smoothing}
    check = torch.autograd.gradcheck
    weight = (torch.rand(5, dtype=torch.float64) + 0.5).requires_grad_()
    assert check(lambda x, w: cross_entropy(x, LABELS, w, **options), (double(3, 5), weight))
    probabilities = double(3, 5).softmax(1).detach().requires_grad_()
    assert check(lambda x, t, w: cross_entropy(x, t, w, **options),
                 (double(3, 5), probabilities, weight))
    assert check(lambda x, w: nll_loss(x, LABELS, w, reduction=reduction), (double(3, 5), weight))
    deep = torch.tensor([[0, 1], [2, 2]])
    assert check(lambda x: cross_entropy(x, deep, **options), (double(2, 3, 2),))


def test_round_trips(calls):
    """One for a mean or a sum; another one where the gradient hangs on the incoming one."""
    x = torch.randn(3, 5)
    cross_entropy(x, LABELS)
    with torch.no_grad():
        cross_entropy(x.clone().requires_grad_(), LABELS)
    assert calls == [[], []]
    calls.clear()
    weight = torch.rand(5).requires_grad_()
    (cross_entropy(x.requires_grad_(), LABELS) * 3).backward()
    assert calls == [["grad"]]
    calls.clear()
    cross_entropy(x.detach(), LABELS, weight, reduction="sum").backward()
    assert calls == [["grad_weight"]]
    calls.clear()
    cross_entropy(x, LABELS, reduction="none").sum().backward()
    assert calls == [[], ["grad"]]
    calls.clear()
    cross_entropy(x.half(), LABELS).backward()
    assert calls == [[], ["grad"]]


def test_a_loss_scale_reaches_small_gradients_of_float16():
    x = torch.randn(4096, 50).half().requires_grad_()
    labels = torch.randint(0, 50, (4096,))
    (cross_entropy(x, labels) * 8192).backward()
    wide = x.detach().double().requires_grad_()
    (own.cross_entropy(wide, labels) * 8192).backward()
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_double_backward_is_refused(reduction, dtype):
    x = torch.randn(3, 5).to(dtype).requires_grad_()
    loss = cross_entropy(x, LABELS, reduction=reduction).sum()
    gradient, = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        (loss + gradient.norm()).backward()


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_compile(reduction):
    module = remote.CrossEntropyLoss(torch.rand(5) + 0.5, reduction=reduction, label_smoothing=0.1)

    def twice(x, t):
        return module(x * 2, t).sum() * 3

    compiled = torch.compile(twice, fullgraph=True, backend="aot_eager")
    results = []
    for call in (compiled, twice):
        x = torch.linspace(-1, 1, 15).reshape(3, 5).requires_grad_()
        loss = call(x, LABELS)
        loss.backward()
        results.append((loss.detach(), x.grad))
    torch.testing.assert_close(*results)


def test_compile_with_a_client_of_its_own(server):
    with lossd.Client(server.unix) as client:
        module = remote.NLLLoss(client=client)
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        x = torch.randn(3, 5)
        torch.testing.assert_close(compiled(x, LABELS), own.nll_loss(x, LABELS))


def test_operations_are_as_torch_wants_them():
    x, weight = torch.randn(3, 5).requires_grad_(), torch.rand(5)
    for reduction in REDUCTIONS:
        torch.library.opcheck(torch.ops.lossd.loss, (
            x, LABELS, weight, "cross_entropy", reduction, -100, 0.0, "", True, False, False),
            # The one that is left out differentiates gradients too, which is refused.
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_autocast(dtype):
    x, weight = torch.randn(3, 5).to(dtype), torch.rand(5).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for target in (LABELS, x.softmax(1)):
            mine, theirs = leaf_pair(x)
            got, expected = cross_entropy(mine, target, weight), own.cross_entropy(theirs, target,
                                                                                   weight)
            torch.testing.assert_close(got, expected)
            got.backward()
            expected.backward()
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=2e-2, atol=2e-3)
        assert nll_loss(x, LABELS).dtype == own.nll_loss(x, LABELS).dtype


def leaf_pair(x):
    return x.clone().requires_grad_(), x.clone().requires_grad_()


@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_on_the_devices_of_their_tensors(reduction, dtype):
    """Tensors without elements stand in for those of a device that need not be there."""
    with FakeTensorMode():
        x, target = (torch.empty(3, 5, device="cuda", dtype=dtype) for _ in range(2))
        weight = torch.empty(5, dtype=dtype)
        options = ("cross_entropy", reduction, -100, 0.0, "", True, True, True)
        loss, *_ = torch.ops.lossd.loss(x, target, weight, *options)
        assert loss.device.type == "cuda" and loss.dtype == dtype
        assert loss.shape == ((3,) if reduction == "none" else ())
        gradients = torch.ops.lossd.gradients(loss, x, target, weight, *options)
        for gradient, tensor in zip(gradients, (x, target, weight), strict=True):
            assert (gradient.device, gradient.dtype) == (tensor.device, tensor.dtype)
            assert gradient.shape == tensor.shape
    x = torch.empty(3, 5, device="meta").requires_grad_()
    loss = cross_entropy(x, torch.empty(3, 5, device="meta"), reduction=reduction)
    gradient, = torch.autograd.grad(loss.sum(), x)
    assert loss.device.type == gradient.device.type == "meta" and gradient.shape == x.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cuda(reduction):
    x = torch.randn(3, 5, device="cuda").requires_grad_()
    loss = cross_entropy(x, LABELS.cuda(), reduction=reduction).sum()
    gradient, = torch.autograd.grad(loss, x)
    expected = own.cross_entropy(x, LABELS.cuda(), reduction=reduction).sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, *torch.autograd.grad(expected, x))


def test_copies_share_the_client_and_pickles_need_none(server):
    with lossd.Client(server.tcp) as client:
        module = remote.CrossEntropyLoss(client=client)
        assert copy.deepcopy(module).client is client
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(module)
    x = torch.randn(3, 5)
    again = pickle.loads(pickle.dumps(remote.CrossEntropyLoss(label_smoothing=0.1)))
    torch.testing.assert_close(again(x, LABELS), own.cross_entropy(x, LABELS, label_smoothing=0.1))
