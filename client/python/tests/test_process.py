"""lossd and lossctl as processes: signals, ports, files, exit codes."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import BIN, Server

import lossd


def lossctl(*arguments, **kwargs):
    return subprocess.run([BIN / "lossctl", *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, **kwargs, check=False)


def one_line(text):
    return text.count("\n") == 1 and text.endswith("\n")


def test_sigterm_ends_in_order():
    server = Server()
    with lossd.Client(server.tcp) as client:
        client.cross_entropy(np.float32([[1, 2]]), [0])
    assert server.stop() == 0


def test_grace_period_serves_while_health_says_no():
    server = Server("--shutdown-grace", "1.5")
    assert lossctl("--server", server.tcp, "health", "--service",
                   "lossd.v1.LossService").returncode == 0
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    ready = lossctl("--server", server.tcp, "health", "--service", "lossd.v1.LossService")
    assert ready.returncode == 1 and "NOT_SERVING" in ready.stderr
    with lossd.Client(server.tcp) as client:
        assert client.cross_entropy(np.float32([[1, 2]]), [0]).positions == 1
    assert server.process.wait(timeout=30) == 0


def test_second_signal_ends_at_once():
    server = Server("--shutdown-grace", "60")
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=5) == 128 + signal.SIGTERM


def test_port_in_use(server):
    for address in (server.tcp, server.unix):
        second = subprocess.run([BIN / "lossd", "--listen", address], capture_output=True,
                                text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert one_line(second.stderr) and address in second.stderr, second.stderr


def test_flags_from_environment_and_file(tmp_path):
    config = tmp_path / "lossd.toml"
    config.write_text('listen = ["127.0.0.1:0"]\nthreads = 3\n')
    process = subprocess.Popen([BIN / "lossd", "--config", config], stderr=subprocess.PIPE,
                               text=True, env={"LOSSD_LOG_LEVEL": "info"})
    assert "threads=3" in process.stderr.readline()
    process.terminate()
    assert process.wait(timeout=30) == 0
    process.stderr.close()
    bad = subprocess.run([BIN / "lossd", "--threads", "many"], capture_output=True, text=True,
                         timeout=30, check=False)
    assert bad.returncode != 0 and "--threads" in bad.stderr


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 30)).astype(np.float32)
    y = rng.integers(0, 30, 40)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "both.npz", input=x, target=y)
    np.savez_compressed(tmp_path / "other.npz", logits=x, labels=y)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(x))
    return tmp_path


def test_eval_equals_the_client(server, files):
    x, y = np.load(files / "x.npy"), np.load(files / "y.npy")
    with lossd.Client(server.tcp) as client:
        expected = client.cross_entropy(x, y, label_smoothing=0.1, grad=True)
    sources = [(files / "x.npy", files / "y.npy"), (files / "both.npz", files / "both.npz"),
               (f"{files}/other.npz:logits", f"{files}/other.npz:labels"),
               (files / "fortran.npy", files / "y.npy")]
    for input_file, target_file in sources:
        for transport in ("auto", "unary", "stream"):
            run = lossctl("--server", server.unix, "eval", "--input", input_file, "--target",
                          target_file, "--reduction", "mean", "--label-smoothing", "0.1",
                          "--grad-out", files / "g.npy", "--loss-out", files / "l.npy", "--json",
                          "--transport", transport)
            assert run.returncode == 0, run.stderr
            assert np.float32(json.loads(run.stdout)["loss"]["values"][0]) == expected.loss
            assert np.array_equal(np.load(files / "g.npy"), expected.grad)
            assert np.load(files / "l.npy") == expected.loss


def test_eval_of_a_large_file_streams(server, tmp_path):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 5000)).astype(np.float64)
    t = np.abs(rng.normal(size=(300, 5000)))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", t)
    run = lossctl("--server", server.tcp, "eval", "--input", tmp_path / "x.npy", "--target",
                  tmp_path / "t.npy", "--reduction", "none", "--grad-out", tmp_path / "g.npy",
                  "--grad-target-out", tmp_path / "gt.npy", "--loss-out", tmp_path / "l.npy")
    assert run.returncode == 0, run.stderr
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    np.testing.assert_allclose(np.load(tmp_path / "l.npy"), -(t * log_p).sum(1), rtol=1e-12)
    np.testing.assert_allclose(np.load(tmp_path / "gt.npy"), -log_p, rtol=1e-12)
    np.testing.assert_allclose(np.load(tmp_path / "g.npy"),
                               np.exp(log_p) * t.sum(1, keepdims=True) - t, atol=1e-11)


def test_legacy_arguments(server, files):
    common = ("--server", server.tcp, "eval", "--input", files / "x.npy", "--target",
              files / "y.npy", "--json")
    for legacy, reduction in ((("--size-average", "false"), "sum"), (("--reduce", "false"), "none"),
                              (("--reduce", "true"), "mean"),
                              (("--size-average", "true", "--reduction", "sum"), "mean")):
        old = lossctl(*common, *legacy)
        new = lossctl(*common, "--reduction", reduction)
        assert old.stdout == new.stdout and old.returncode == 0
        assert "deprecated" in old.stderr and not new.stderr


def test_bad_files_and_arguments(server, files):
    (files / "not.npy").write_text("hello")
    (files / "cut.npy").write_bytes((files / "x.npy").read_bytes()[:-1])
    np.save(files / "complex.npy", np.zeros((40, 30), complex))
    for name, words in (("missing.npy", "No such file"), ("not.npy", "not a .npy file"),
                        ("cut.npy", "expected 4800 bytes"), (".", "not a regular file"),
                        ("complex.npy", "expected float16"),
                        ("both.npz:nothing", "it has: input, target"),
                        ("missing.npz", "No such file")):
        run = lossctl("--server", server.tcp, "eval", "--input", f"{files}/{name}", "--target",
                      files / "y.npy")
        assert run.returncode == 1, name
        assert one_line(run.stderr) and words in run.stderr, run.stderr
    run = lossctl("--server", server.tcp, "eval", "--input", files / "x.npy", "--target",
                  files / "x.npy", "--ignore-index", "3")
    assert run.returncode == 1 and "IGNORE_INDEX_WITH_PROBABILITIES" in run.stderr
    run = lossctl("--server", server.tcp, "eval", "--input", files / "x.npy", "--target",
                  files / "y.npy", "--grad-out", files / "no" / "such" / "g.npy")
    assert run.returncode == 1 and one_line(run.stderr), run.stderr
    assert lossctl("eval").returncode != 0
    assert lossctl("eval", "--input", "a", "--target", "b", "--reduction", "max").returncode != 0


def test_health_and_info(server):
    good = lossctl("--server", server.unix, "health")
    assert (good.returncode, good.stdout) == (0, "SERVING\n")
    bad = lossctl("--server", "127.0.0.1:1", "--timeout", "1", "health")
    assert bad.returncode == 1 and one_line(bad.stderr)
    info = lossctl("--server", server.tcp, "info", "--json")
    assert json.loads(info.stdout)["limits"]["max_message_bytes"] == 4 << 20
    assert "max_classes" in lossctl("--server", server.tcp, "info").stdout


@pytest.mark.parametrize(("transport", "shape", "warmup"),
                         [("unary", "1000,1000", 0.005), ("many", "1000,1000", 0.005),
                          ("stream", "8192,1000", 0.03)])
def test_bench_measures_a_call_longer_than_its_duration(server, transport, shape, warmup):
    # The first call takes longer than warm-up and duration together.
    run = lossctl("--server", server.unix, "bench", "--json", "--shape", shape, "--grad",
                  "--transport", transport, "--warmup", warmup, "--duration", "0.01")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["calls"] >= 1
    assert 0 < report["latency_us"]["min"] <= report["latency_us"]["max"] < 60e6
