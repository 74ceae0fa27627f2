"""lossd.jax: values, gradients, transformations and errors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import lossd
from lossd.jax import cross_entropy

REDUCTIONS = ["none", "mean", "sum"]
RNG = np.random.default_rng(11)
LABELS = np.array([1, 4, -100])
X = RNG.normal(size=(3, 5))
P = RNG.dirichlet(np.ones(5), 3)
W = RNG.uniform(0.5, 2, 5)


@pytest.fixture(autouse=True)
def address(server, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", server.tcp)
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients(reduction, smoothing, jitted):
    def loss(x, target, weight):
        return cross_entropy(x, target, weight=weight, reduction=reduction,
                             label_smoothing=smoothing)

    wrapped = jax.jit(loss) if jitted else loss
    check_grads(lambda x, w: wrapped(x, LABELS, w), (X, W), order=1, modes=["rev"])
    check_grads(wrapped, (X, P, W), order=1, modes=["rev"])


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-13), ("float32", 1e-6),
                                             ("float16", 2e-3), ("bfloat16", 1e-2)])
def test_values_are_those_of_the_client(client, dtype, rtol):
    x, w = jnp.asarray(X, dtype), jnp.asarray(W, dtype)
    for reduction, target in itertools.product(REDUCTIONS, (LABELS, jnp.asarray(P, dtype))):
        expected = client.cross_entropy(np.asarray(x), np.asarray(target), weight=np.asarray(w),
                                        reduction=reduction, grad=True)
        for loss in (cross_entropy, jax.jit(cross_entropy, static_argnames=(
                "reduction", "client"))):
            got = loss(x, target, weight=w, reduction=reduction, client=client)
            assert got.dtype == expected.loss.dtype and got.shape == expected.loss.shape
            assert np.asarray(got).tobytes() == expected.loss.tobytes()
        grad = jax.grad(lambda x, t=target, r=reduction: 3 * cross_entropy(
            x, t, weight=w, reduction=r).sum())(x)
        assert grad.dtype == x.dtype
        np.testing.assert_allclose(np.float64(grad), 3 * np.float64(expected.grad), rtol=rtol,
                                   atol=1e-7)


def test_classes_at_the_last_axis_and_one_dimension(client):
    x = RNG.normal(size=(2, 4, 5))
    labels = RNG.integers(0, 5, (2, 4))
    got = jax.jit(lambda x: cross_entropy(x, labels, class_axis=-1))(x)
    assert got == client.cross_entropy(x, labels, class_axis=-1).loss
    assert cross_entropy(x[0, 0], 3) == client.cross_entropy(x[0, 0], 3).loss


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_one_call_where_that_is_enough(reduction, monkeypatch):
    asked = []
    evaluate = lossd.Client.cross_entropy

    def noted(self, *arguments, **options):
        asked.append([name for name in ("grad", "grad_target", "grad_weight")
                      if options.get(name)])
        return evaluate(self, *arguments, **options)

    monkeypatch.setattr(lossd.Client, "cross_entropy", noted)
    cross_entropy(X, LABELS, reduction=reduction)
    assert asked == [[]]
    asked.clear()
    jax.jit(jax.value_and_grad(
        lambda x: cross_entropy(x, LABELS, weight=W, reduction=reduction).sum()))(X)
    assert asked == ([["grad"]] if reduction == "mean" else [[], ["grad"]])


def test_large_arrays_under_jit():
    x = RNG.normal(size=(500, 3000)).astype(np.float32)
    labels = RNG.integers(0, 3000, 500)
    value, grad = jax.jit(jax.value_and_grad(lambda x: cross_entropy(x, labels)))(x)
    shifted = x - np.log(np.exp(x).sum(1, keepdims=True))
    np.testing.assert_allclose(value, -shifted[np.arange(500), labels].mean(), rtol=1e-5)
    assert grad.shape == x.shape


def test_vmap_makes_one_call_after_the_other(client):
    x, labels = RNG.normal(size=(4, 3, 5)), RNG.integers(0, 5, (4, 3))
    got = jax.vmap(jax.value_and_grad(cross_entropy))(x, labels)
    for number in range(4):
        expected = client.cross_entropy(x[number], labels[number], grad=True)
        assert got[0][number] == expected.loss
        np.testing.assert_array_equal(got[1][number], expected.grad)


def test_second_derivatives_and_forward_mode_are_refused():
    for reduction in ("none", "mean"):
        def loss(x, reduction=reduction):
            return cross_entropy(x, LABELS, reduction=reduction).sum()

        with pytest.raises(TypeError, match="first derivatives only"):
            jax.grad(lambda x: jax.grad(loss)(x).sum())(X)
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(loss, (X,), (X,))


@pytest.mark.parametrize("jitted", [False, True])
def test_wrong_problems_are_said_as_they_are_traced(jitted, monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", "127.0.0.1:1")
    loss = jax.jit(cross_entropy, static_argnames=("reduction",)) if jitted else cross_entropy
    for arguments, options, field in (
            ((X, LABELS[:2]), {}, "target.shape"), ((X, X[:, :4]), {}, "target"),
            ((X, LABELS), {"weight": W[:4]}, "weight.shape"),
            ((LABELS, LABELS), {}, "input.dtype"),
            ((X, LABELS), {"reduction": "max"}, "reduction"),
            ((X, LABELS), {"weight": W.astype(np.float32)}, "weight.dtype")):
        with pytest.raises(lossd.InvalidArgument) as caught:
            loss(*arguments, **options)
        assert caught.value.field == field


def test_a_server_that_is_down(monkeypatch):
    monkeypatch.setenv("LOSSD_ADDRESS", "127.0.0.1:1")
    with pytest.raises(lossd.Unavailable, match="127.0.0.1:1"):
        cross_entropy(X, LABELS)
    with pytest.raises(lossd.Unavailable, match="127.0.0.1:1"):
        jax.grad(cross_entropy)(X, LABELS)
    with pytest.raises(RuntimeError, match="127.0.0.1:1"):
        jax.block_until_ready(jax.jit(cross_entropy)(X, LABELS))


def test_labels_that_are_none():
    with pytest.raises(lossd.InvalidArgument, match=r"target\[1\]"):
        cross_entropy(X, np.array([0, 5, 1]))
