"""Options and shapes: each error names the argument, what was expected and what was got."""

import decimal
import math
import pickle

import numpy as np
import pytest
from conftest import LABELS, X

import lossd

REFUSED = [
    ("top_k", -1, "an integer in [0, 2^32 - 1], got -1"),
    ("top_k", 1 << 32, "an integer in [0, 2^32 - 1], got 4294967296"),
    ("top_k", 2.0, "an integer in [0, 2^32 - 1], got 2.0"),
    ("top_k", True, "an integer in [0, 2^32 - 1], got True"),
    ("top_k", "2", "an integer in [0, 2^32 - 1], got '2'"),
    ("ignore_index", -1.0, "an integer in [-2^63, 2^63 - 1], got -1.0"),
    ("ignore_index", 1 << 63, "an integer in [-2^63, 2^63 - 1], got 9223372036854775808"),
    ("ignore_index", None, "an integer in [-2^63, 2^63 - 1], got None"),
    ("ignore_index", np.array([3]), "an integer in [-2^63, 2^63 - 1], got array([3])"),
    ("ignore_index", np.ma.masked, "an integer in [-2^63, 2^63 - 1], got masked"),
    ("class_axis", 1 << 40, "an integer in [-2^31, 2^31 - 1], got 1099511627776"),
    ("class_axis", 2, "an axis in [-2, 2) for an input of shape (2, 3), got 2"),
    ("class_axis", -3, "an axis in [-2, 2) for an input of shape (2, 3), got -3"),
    ("label_smoothing", "0.1", "a number in [0, 1], got '0.1'"),
    ("label_smoothing", np.str_("0.1"), f"a number in [0, 1], got {np.str_('0.1')!r}"),
    ("label_smoothing", math.nan, "a number in [0, 1], got nan"),
    ("label_smoothing", -0.1, "a number in [0, 1], got -0.1"),
    ("label_smoothing", True, "a number in [0, 1], got True"),
    ("label_smoothing", np.ma.masked, "a number in [0, 1], got masked"),
    ("label_smoothing", 1j, "a number in [0, 1], got 1j"),
    ("normalizer", 0, "a finite number other than 0, got 0"),
    ("normalizer", math.inf, "a finite number other than 0, got inf"),
    ("normalizer", 10**400, "a finite number other than 0, got a value of type int"),
    ("normalizer", np.array([4]), "a finite number other than 0, got array([4])"),
    ("grad", "yes", "True or False, got 'yes'"),
    ("grad", 1, "True or False, got 1"),
    ("grad_target", None, "True or False, got None"),
    ("grad_weight", "", "True or False, got ''"),
    ("log_sum_exp", 0.0, "True or False, got 0.0"),
    ("reduction", "average", "\"none\", \"sum\" or \"mean\", got 'average'"),
    ("reduction", ["mean"], "\"none\", \"sum\" or \"mean\", got ['mean']"),
    ("empty_mean", 0, "\"nan\" or \"zero\", got 0"),
    ("transport", "tcp", "\"auto\", \"unary\" or \"stream\", got 'tcp'"),
    ("chunk_bytes", 0, "an integer in [1, 2^63 - 1], got 0"),
    ("chunk_bytes", 1e6, "an integer in [1, 2^63 - 1], got 1000000.0"),
    ("timeout", "x", "seconds, at least 0, or None for no limit, got 'x'"),
    ("timeout", -1, "seconds, at least 0, or None for no limit, got -1"),
    ("timeout", math.nan, "seconds, at least 0, or None for no limit, got nan"),
]


@pytest.mark.parametrize(("name", "value", "words"), REFUSED)
def test_options_are_refused_by_name(unconnected, name, value, words):
    with pytest.raises(lossd.InvalidArgument) as caught:
        unconnected.cross_entropy(X, LABELS, **{name: value})
    assert str(caught.value).startswith(f"{name}: expected {words}")
    assert caught.value.field == name
    assert isinstance(caught.value, ValueError)


def test_wrong_kinds_are_type_errors_and_wrong_values_are_not(unconnected):
    for name, wrong_kind, wrong_value in (
            ("top_k", 2.0, -1), ("label_smoothing", "0.1", 1.5), ("reduction", 1, "max"),
            ("normalizer", "4", 0), ("timeout", "x", -1), ("chunk_bytes", 1e6, 0)):
        with pytest.raises(TypeError):
            unconnected.cross_entropy(X, LABELS, **{name: wrong_kind})
        with pytest.raises(ValueError) as caught:
            unconnected.cross_entropy(X, LABELS, **{name: wrong_value})
        assert not isinstance(caught.value, TypeError)


def test_options_that_exclude_each_other(unconnected):
    for arguments, field, reason in (
            ({"normalizer": 2, "reduction": "sum"}, "normalizer", "NORMALIZER_WITHOUT_MEAN"),
            ({"grad_output": 1.0}, "grad_output", "GRAD_OUTPUT_UNUSED"),
            ({"grad_target": True}, "grad_target", "GRAD_TARGET_OF_CLASS_INDEX"),
            ({"grad_weight": True}, "grad_weight", "GRAD_WEIGHT_WITHOUT_WEIGHT")):
        with pytest.raises(lossd.InvalidArgument) as caught:
            unconnected.cross_entropy(X, LABELS, **arguments)
        assert (caught.value.field, caught.value.reason) == (field, reason)


def test_scalars_of_numpy_are_numbers(client):
    plain = client.cross_entropy(X, LABELS, top_k=2, label_smoothing=0.125, normalizer=4.0,
                                 ignore_index=1, class_axis=-1, grad=True)
    for integer in (np.int64, np.uint8, np.array):
        for real in (np.float32, np.float16, np.array, decimal.Decimal):
            got = client.cross_entropy(
                X, LABELS, top_k=integer(2), label_smoothing=real(0.125), normalizer=integer(4),
                ignore_index=integer(1), class_axis=np.int8(-1), grad=np.bool_(True),
                timeout=real(60), chunk_bytes=integer(64), transport="stream")
            assert got.loss == plain.loss and np.array_equal(got.grad, plain.grad)
            assert got.correct_top_k == plain.correct_top_k == 2
    assert client.cross_entropy(X, LABELS, grad=np.array(False)).grad is None


def test_shapes_name_both_axes(unconnected):
    logits = np.zeros((4, 5, 7), np.float32)
    words = (r"expected \(4, 7\) for class indices, the input's \(4, 5, 7\) without its axis 1 "
             r"\(class_axis=1\); got ")
    hint = "; where the classes are at another axis, say class_axis="
    for shape, end in (((4, 5), rf"\(4, 5\){hint}-1 "), ((5, 7), rf"\(5, 7\){hint}0 "),
                       ((4, 9), r"\(4, 9\) \[")):
        with pytest.raises(lossd.InvalidArgument, match=f"^target.shape: {words}{end}") as caught:
            unconnected.cross_entropy(logits, np.zeros(shape, int))
        assert caught.value.field == "target.shape"
        assert caught.value.reason == "SHAPE_MISMATCH"
    with pytest.raises(lossd.InvalidArgument, match="probabilities have to be of a floating type"):
        unconnected.cross_entropy(X, np.array([[0, 0, 1], [1, 0, 0]]))
    with pytest.raises(lossd.InvalidArgument, match=r"weight.shape: expected \(5,\).*axis 1"):
        unconnected.cross_entropy(logits, np.zeros((4, 7), int), weight=np.ones(7, np.float32))
    with pytest.raises(lossd.InvalidArgument, match=r"grad_output.shape: expected \(\), .*mean"):
        unconnected.cross_entropy(X, LABELS, grad=True, grad_output=[1.0, 1.0])
    with pytest.raises(lossd.InvalidArgument, match="CLASSES_EMPTY"):
        unconnected.cross_entropy(np.zeros((2, 0), np.float32), LABELS)
    with pytest.raises(lossd.InvalidArgument, match="RANK_MISMATCH"):
        unconnected.cross_entropy(1.0, 0)


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_fields_of_the_server_are_arguments_too(client, transport):
    for arguments, field in (({"ignore_index": 1, "target": np.zeros((2, 3), np.float32)},
                              "ignore_index"), ({"target": np.array([0, 3])}, "target[1]")):
        with pytest.raises(lossd.InvalidArgument) as caught:
            client.cross_entropy(X, transport=transport, **arguments)
        assert caught.value.field == field
        assert str(caught.value).startswith(f"INVALID_ARGUMENT: {field}: expected ")


@pytest.mark.parametrize(("arguments", "field"), [
    ({"address": None}, "address"), ({"address": ""}, "address"), ({"address": 50051}, "address"),
    ({"timeout": -1}, "timeout"), ({"timeout": "x"}, "timeout"), ({"timeout": math.nan}, "timeout"),
    ({"token": 3, "root_certificates": True}, "token"),
    ({"token": "a\nb", "root_certificates": True}, "token"),
    ({"token": "", "root_certificates": True}, "token"), ({"token": "secret"}, "token"),
    ({"root_certificates": "roots.pem"}, "root_certificates"),
    ({"root_certificates": False}, "root_certificates"),
    ({"root_certificates": b""}, "root_certificates")])
def test_clients_are_refused_by_name(arguments, field):
    with pytest.raises(lossd.InvalidArgument, match=f"^{field}: ") as caught:
        lossd.Client(**{"address": "127.0.0.1:1", **arguments})
    assert caught.value.field == field
    assert "secret" not in str(caught.value)


def test_summaries_are_refused_by_name(unconnected):
    for value, field in ((None, "summaries"), ("ab", "summaries"), ([1], r"summaries\[0\]")):
        with pytest.raises(lossd.InvalidType, match=f"^{field}: expected"):
            unconnected.combine(value)


def test_errors_travel_between_processes(unconnected):
    with pytest.raises(lossd.InvalidArgument) as caught:
        unconnected.cross_entropy(X, [1.0, 2.0])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is type(caught.value) and vars(copy) == vars(caught.value)
    assert str(copy) == str(caught.value)
