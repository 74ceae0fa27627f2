"""Negative log-likelihood through the Python client and lossctl."""

import json
import subprocess

import numpy as np
import pytest
from conftest import BIN

import lossd


def test_is_the_mean_of_minus_the_labels_log_probabilities(server):
    x = np.log(np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32))
    with lossd.Client(server.tcp) as client:
        result = client.nll_loss(x, [1, 0], grad=True)
        np.testing.assert_allclose(result.loss, -(np.log(0.75) + np.log(0.5)) / 2, rtol=1e-6)
        np.testing.assert_array_equal(result.grad, [[0, -0.5], [-0.5, 0]])
        merged = client.combine([result, client.nll_loss(x[:1], [1])])
        np.testing.assert_allclose(merged.loss, -(2 * np.log(0.75) + np.log(0.5)) / 3, rtol=1e-6)


def test_a_large_input_goes_by_stream(server):
    x = np.random.default_rng(1).uniform(-9, 0, (300, 4000)).astype(np.float32)
    labels = np.arange(300)
    with lossd.Client(server.tcp) as client:
        result = client.nll_loss(x, labels, reduction="none", grad=True)
        np.testing.assert_array_equal(result.loss, -x[labels, labels])
        expected = np.zeros_like(x)
        expected[labels, labels] = -1
        np.testing.assert_array_equal(result.grad, expected)


@pytest.mark.parametrize("target", [np.ones((2, 2), np.float32), [0.5, 0.5], [[0.5, 0.5]] * 2])
def test_probabilities_are_refused(unconnected, target):
    with pytest.raises(lossd.InvalidArgument) as error:
        unconnected.nll_loss(np.zeros((2, 2), np.float32), target)
    assert error.value.field == "target.dtype"
    assert "class indices" in str(error.value)


def lossctl(server, folder, *flags):
    np.save(folder / "x.npy", np.log(np.array([[0.25, 0.75]], dtype=np.float32)))
    np.save(folder / "y.npy", np.array([1]))
    return subprocess.run(
        [BIN / "lossctl", "--server", server.tcp, "eval", "--input", folder / "x.npy", "--target",
         folder / "y.npy", "--json", *flags], capture_output=True, text=True, check=False)


def test_lossctl(server, tmp_path):
    done = lossctl(server, tmp_path, "--criterion", "nll_loss", "--grad")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    np.testing.assert_allclose(answer["loss"]["values"], [-np.log(0.75)], rtol=1e-6)
    assert answer["grad_input"]["values"] == [0, -1]


def test_lossctl_refuses_label_smoothing(server, tmp_path):
    done = lossctl(server, tmp_path, "--criterion", "nll_loss", "--label-smoothing", "0.1")
    assert done.returncode == 1
    assert "label_smoothing" in done.stderr and "cross_entropy" in done.stderr


def test_lossctl_names_the_losses(server, tmp_path):
    done = lossctl(server, tmp_path, "--criterion", "nll")
    assert done.returncode != 0
    assert "nll_loss" in done.stderr
