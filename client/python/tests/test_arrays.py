"""Kinds of arrays that callers hold: numbers, lists, torch's, masked ones, those with gaps."""

import subprocess
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from conftest import LABELS, X

import lossd

FIRST_ROW = [0.0900306, 0.2447285, -0.3347591]


@pytest.mark.parametrize("grad_output", [2, 2.0, np.float64(2), np.int8(2), np.array(2.0)])
def test_numbers_take_the_type_of_the_logits(client, grad_output):
    got = client.cross_entropy(X, LABELS, grad=True, grad_output=grad_output)
    assert got.grad.dtype == np.float32
    np.testing.assert_allclose(got.grad[0], FIRST_ROW, rtol=1e-6)


@pytest.mark.parametrize("weight", [[1.0, 2.0, 3.0], [1, 2, 3], (1, 2.0, np.float64(3)),
                                    range(1, 4), np.array([1, 2.0, 3], object)])
def test_lists_take_the_type_of_the_logits(client, weight):
    got = client.cross_entropy(X, LABELS, weight=weight, grad_weight=True)
    assert got.loss == np.float32(0.348166) and got.grad_weight.dtype == np.float32
    double = client.cross_entropy(X.astype(np.float64), LABELS, weight=weight, grad_weight=True)
    assert double.loss.dtype == double.grad_weight.dtype == np.float64
    half = client.cross_entropy(X.astype(np.float16), LABELS, weight=weight, grad_weight=True)
    assert half.loss == got.loss and half.grad_weight.dtype == np.float32


@pytest.mark.parametrize("target", [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [[0, 0, 1], [1, 0, 0]]])
def test_lists_of_probabilities(client, target):
    got = client.cross_entropy(X, target, grad=True, grad_target=True, grad_output=2)
    np.testing.assert_allclose(got.grad[0], FIRST_ROW, rtol=1e-6)
    assert got.grad_target.dtype == np.float32
    assert got.loss == client.cross_entropy(X, LABELS).loss


def test_lists_of_labels_and_logits(client):
    expected = client.cross_entropy(X, LABELS).loss
    for target in ([2, 0], (2, 0), [np.int8(2), 0], np.array([2, 0], object), range(2, -2, -2)):
        assert client.cross_entropy(X, target).loss == expected
        assert client.cross_entropy(X.tolist(), target).loss == expected
    rows = client.cross_entropy([np.float64([1, 2, 3]), np.float64([3, 1, 0])], LABELS)
    assert rows.loss.dtype == np.float64  # A list of arrays has their type.


def test_arrays_keep_their_type(unconnected):
    for name, value in (("weight", np.ones(3)), ("grad_output", np.ones(2)),
                        ("target", np.ones((2, 3))), ("weight", np.ones(3, int))):
        arguments = {"target": LABELS, "reduction": "none", "grad": True, name: value}
        with pytest.raises(lossd.InvalidArgument) as caught:
            unconnected.cross_entropy(X, **arguments)
        assert caught.value.field == f"{name}.dtype"
        assert caught.value.reason == "DTYPE_MISMATCH"
        assert f"expected float32 beside an input of float32, got {value.dtype}" in \
            str(caught.value)


def test_numbers_beyond_the_type_are_refused(unconnected):
    with pytest.raises(lossd.InvalidArgument, match=r"weight\[1\]: .* float32, got 1e\+300"):
        unconnected.cross_entropy(X, LABELS, weight=[1, 1e300, 1])
    with pytest.raises(lossd.InvalidArgument, match=r"input\[0, 1\]: .* float32, got 1e\+39"):
        unconnected.cross_entropy([[1.0, 1e39]], [0])
    with pytest.raises(lossd.InvalidArgument, match=r"target: expected integers"):
        unconnected.cross_entropy(X, [1 << 70, 0])


@pytest.mark.parametrize("transport", ["unary", "stream"])
@pytest.mark.parametrize("rows", [2, 20_000])
def test_results_are_writable(client, transport, rows):
    x, t = np.resize(X, (rows, 3)), np.full((rows, 3), 0.25, np.float32)
    got = client.cross_entropy(x, t, weight=[1, 1, 1], reduction="none", grad=True,
                               grad_target=True, grad_weight=True, log_sum_exp=True,
                               transport=transport)
    arrays = (got.loss, got.grad, got.grad_target, got.grad_weight, got.log_sum_exp)
    for array in arrays:
        array[...] = 1  # Raises where it is read-only.
    assert all((array == 1).all() for array in arrays)
    scalar = client.cross_entropy(X, LABELS, transport=transport).loss
    scalar += 1


MASKED = {
    "target": np.ma.array([2, 0], mask=[False, True]),
    "input": np.ma.array(X, mask=X > 2),
    "weight": np.ma.array(np.ones(3, np.float32), mask=[True, False, False]),
    "grad_output": np.ma.array(np.ones(2, np.float32), mask=[True, False]),
}


@pytest.mark.parametrize("nested", ["whole", "rows", "deep", "constant"])
@pytest.mark.parametrize("name", [*MASKED, "soft target"])
def test_masked_arrays_are_refused(unconnected, name, nested):
    value = MASKED["input"] if name == "soft target" else MASKED[name]
    value = {"whole": value, "rows": list(value), "deep": [[value]],
             "constant": [np.ma.masked, 0]}[nested]
    if nested == "rows" and name not in ("soft target", "input"):
        value = [np.ma.array(1, mask=True), 1]
    name = name.split()[-1]
    arguments = {"input": X, "target": LABELS, "reduction": "none", "grad": True, name: value}
    words = f"^{name}: expected no mask.*ignore_index.*filled"
    with pytest.raises(TypeError, match=words) as caught:
        unconnected.cross_entropy(**arguments)
    assert isinstance(caught.value, lossd.InvalidArgument) and caught.value.field == name


def test_a_mask_without_masked_entries_is_refused_too(unconnected):
    with pytest.raises(lossd.InvalidType, match="target: expected no mask"):
        unconnected.cross_entropy(X, np.ma.array(LABELS))


class Gap:
    """The missing value of pandas."""


Gap.__name__ = "NAType"


def test_labels_that_are_no_integers(unconnected):
    words = r"class indices must be of an integer type, or probabilities of shape \(2, 3\); got "
    for target, got in ((np.array([2.0, 0.0]), r"float64 of shape \(2,\)"),
                        ([2.0, 0.0], r"float64 of shape \(2,\)"),
                        (np.array([2.0, np.nan]), r"float64 .* NaN at target\[1\]: fill gaps"),
                        (np.array([True, False]), r"bool of shape \(2,\)"),
                        (["a", "b"], r"text of shape \(2,\)"),
                        (np.ones((2, 2)), r"float64 of shape \(2, 2\)")):
        with pytest.raises(lossd.InvalidArgument, match=f"^target: {words}{got}") as caught:
            unconnected.cross_entropy(X, target)
        assert caught.value.field == "target"
    for gap in (None, Gap()):
        with pytest.raises(lossd.InvalidType, match=r"^target: .*a gap .*at target\[1\]"):
            unconnected.cross_entropy(X, np.array([2, gap], object))


@pytest.mark.parametrize("empty", [[], (), np.array([]), np.array([], object)])
def test_no_labels_for_no_positions(client, empty):
    got = client.cross_entropy(np.zeros((0, 3), np.float32), empty, reduction="sum", grad=True)
    assert got.loss == 0 and got.grad.shape == (0, 3)
    assert client.cross_entropy(np.zeros((2, 3, 0), np.float32), [[], []],
                                reduction="none").loss.shape == (2, 0)
    with pytest.raises(lossd.InvalidArgument, match="class indices"):
        client.cross_entropy(X, empty)


def test_values_that_are_no_arrays(unconnected):
    for value, words in ((None, "got None"), ({}, "got {}"), ("abc", "got text"),
                         ((i for i in ()), "generator"), (X.astype(complex), "got complex128"),
                         (X.astype(int), "got int64")):
        with pytest.raises(TypeError, match=f"^input.*{words}") as caught:
            unconnected.cross_entropy(value, LABELS)
        assert isinstance(caught.value, lossd.InvalidArgument)
    with pytest.raises(lossd.InvalidArgument, match=r"^input: .*cannot be read"):
        unconnected.cross_entropy([[1, 2], [3]], LABELS)
    nest = []
    nest.append(nest)
    with pytest.raises(lossd.InvalidArgument, match="nested at most 64 deep"):
        unconnected.cross_entropy(nest, LABELS)


class TorchLike:
    """A tensor that can as little as torch's: no numpy from bfloat16 nor while it follows
    gradients, and no device memory read in place."""

    def __init__(self, array, dtype, follows=True, device="cuda"):
        self.array, self.dtype, self.follows, self.device = array, dtype, follows, device

    def _but(self, **changes):
        copy = TorchLike(self.array, self.dtype, self.follows, self.device)
        vars(copy).update({**vars(self), **changes})
        return copy

    def detach(self):
        return self._but(follows=False)

    def cpu(self):
        return self._but(device="cpu")

    def resolve_conj(self):
        return self

    def resolve_neg(self):
        return self

    def view(self, dtype):
        return self._but(array=self.array.view(np.int16), dtype=dtype)

    def numpy(self):
        if self.follows or self.device != "cpu" or self.dtype == "bfloat16":
            raise TypeError("can't convert this tensor to numpy")
        return self.array

    def __array__(self, dtype=None, copy=None):
        return self.numpy()


@pytest.fixture
def torch_like(monkeypatch):
    """A stand-in for torch, which is large: the part of it that is asked for arrays."""
    module = types.SimpleNamespace(Tensor=TorchLike, bfloat16="bfloat16", int16="int16")
    monkeypatch.setitem(sys.modules, "torch", module)

    def tensor(values, dtype):
        # Every second element, so that it is not contiguous.
        stored = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        array = np.repeat(np.array(values), 2, axis=0).astype(stored)[::2]
        return TorchLike(array.view(np.uint16) if dtype == "bfloat16" else array, dtype)
    return tensor


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("labels", ["int64", "uint8"])
def test_tensors_in_the_manner_of_torch(client, torch_like, dtype, labels):
    got = client.cross_entropy(torch_like([[1, 2, 3], [0, 0, 0]], dtype),
                               torch_like([2, -100 if labels == "int64" else 7], labels),
                               weight=torch_like([1, 1, 1], dtype), grad=True, ignore_index=(
                                   -100 if labels == "int64" else 7))
    assert np.float32(got.loss) == np.float32(0.40760598)
    assert got.grad.dtype.name == dtype and got.grad.shape == (2, 3)
    np.testing.assert_allclose(np.float64(got.grad[0]), [0.0900306, 0.2447285, -0.3347591],
                               rtol=2.0**-8)


def test_bfloat16_without_ml_dtypes(client, torch_like, monkeypatch):
    x = torch_like([[1, 2, 3]], "bfloat16")
    expected = client.cross_entropy(x, [2], grad=True)
    assert expected.grad.dtype == ml_dtypes.bfloat16
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for transport in ("unary", "stream"):
        got = client.cross_entropy(x, [2], grad=True, transport=transport)
        assert got.loss == expected.loss and got.grad.dtype == np.uint16
        widened = (got.grad.astype(np.uint32) << 16).view(np.float32)
        assert np.array_equal(widened, expected.grad.astype(np.float32))


def test_tensors_that_cannot_be_read(unconnected, torch_like):
    sparse = torch_like([[1, 2, 3]], "float32")
    sparse.device = "sparse"
    sparse.cpu = lambda: sparse
    with pytest.raises(lossd.InvalidType, match="^input: .*can't convert this tensor"):
        unconnected.cross_entropy(sparse, [2])


def test_real_tensors_of_torch(client):
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        x = torch.tensor([[1, 9, 2, 9, 3, 9]], dtype=dtype, requires_grad=True)[:, ::2]
        got = client.cross_entropy(x, torch.tensor([2]), weight=torch.ones(3, dtype=dtype),
                                   grad=True)
        assert np.float32(got.loss) == np.float32(0.40760598)
        assert str(dtype) == f"torch.{got.grad.dtype.name}"


class Exchanged:
    """An array that offers DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_dlpack_and_the_array_protocol(client):
    assert client.cross_entropy(Exchanged(X.copy()), Exchanged(LABELS.copy())).loss == \
        client.cross_entropy(X, memoryview(LABELS)).loss


def test_importing_the_package_imports_no_other_library():
    code = ("import sys, lossd; "
            "sys.exit(str({'torch', 'jax', 'ml_dtypes', 'pandas'} & set(sys.modules)) != 'set()')")
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
