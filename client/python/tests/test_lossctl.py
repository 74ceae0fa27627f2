"""lossctl on files that numpy reads, on files that it refuses, and where its output is lost."""

import json
import os
import struct
import subprocess
import zipfile

import numpy as np
import pytest
from conftest import BIN


def lossctl(*arguments, **kwargs):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    return subprocess.run([BIN / "lossctl", *map(str, arguments)], text=True, timeout=120,
                          **streams, check=False)


def refused(run, *words):
    """One line on stderr with the words, and exit status 1."""
    assert run.returncode == 1, (run.returncode, run.stdout, run.stderr)
    assert run.stderr.count("\n") == 1 and run.stderr.endswith("\n"), run.stderr
    for word in words:
        assert word in run.stderr, run.stderr


X = np.arange(24, dtype=np.float32).reshape(6, 4) % 7
Y = np.arange(6) % 4


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path


@pytest.fixture
def evaluate(server, files):
    """Evaluates two files, by default x.npy and y.npy."""
    def run(input_file="x.npy", target_file="y.npy", *more, **kwargs):
        return lossctl("--server", server.tcp, "eval", "--input", files / input_file, "--target",
                       files / target_file, *more, **kwargs)
    return run


def loss_of(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)["loss"]["values"][0]


def npy(header, data, version=(1, 0)):
    """A .npy file whose header is that text."""
    text = header.encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def test_normalizer_is_shown_as_a_number(server, files, evaluate):
    weight = np.float32([0.2, 0.3, 0.5, 1])
    np.save(files / "w.npy", weight)
    natural = float(weight[Y].astype(np.float64).sum())
    for more, expected in (((), 6.0), (("--weight", files / "w.npy"), natural),
                           (("--reduction", "sum"), 6.0)):
        assert json.loads(evaluate("x.npy", "y.npy", "--json", *more).stdout)[
            "normalizer"] == expected
        line = next(line for line in evaluate("x.npy", "y.npy", *more).stdout.splitlines()
                    if line.startswith("normalizer: "))
        assert float(line.split()[1]) == expected
    # Two halves with the sum of their normalizers are the whole.
    total = 0.0
    for name, part in (("a", slice(0, 4)), ("b", slice(4, 6))):
        np.save(files / f"x{name}.npy", X[part])
        np.save(files / f"y{name}.npy", Y[part])
        shown = evaluate(f"x{name}.npy", f"y{name}.npy", "--json", "--weight", files / "w.npy")
        total += json.loads(shown.stdout)["normalizer"]
    assert total == pytest.approx(natural, rel=1e-15)


def test_reads_what_numpy_reads(files, evaluate):
    expected = loss_of(evaluate("x.npy", "y.npy", "--json"))
    np.save(files / "big.npy", X.astype(">f4"))
    np.save(files / "big_fortran.npy", np.asfortranarray(X.astype(">f4")))
    np.savez_compressed(files / "big.npz", input=X.astype(">f4"))
    for kind in (">f8", ">f2"):
        np.save(files / f"x{kind[-2:]}.npy", X.astype(kind))
    for kind in (">i2", ">i4", ">i8", ">u8", "i1"):
        np.save(files / f"y{kind[-2:]}.npy", Y.astype(kind))
    headers = {
        "long.npy": "{'descr': '<f4', 'fortran_order': False, 'shape': (6L, 4L), }",
        "quotes.npy": '{"descr": "<f4", "fortran_order": False, "shape": (6, 4)}',
        "spaces.npy": "  { 'shape' : ( 6 , 4, ),\n'fortran_order':False,'descr':u'<f4' } \n",
        "native.npy": "{'descr': '=f4', 'fortran_order': False, 'shape': (6, 4), }",
    }
    for name, header in headers.items():
        (files / name).write_bytes(npy(header, X.tobytes()))
    for version in ((2, 0), (3, 0)):
        (files / f"version{version[0]}.npy").write_bytes(
            npy(headers["quotes.npy"], X.tobytes(), version))
    for name in ("big.npy", "big_fortran.npy", "big.npz", "version2.npy", "version3.npy", *headers):
        assert loss_of(evaluate(name, "y.npy", "--json")) == expected, name
    for name in ("yi2", "yi4", "yi8", "yu8", "yi1"):
        assert loss_of(evaluate("x.npy", f"{name}.npy", "--json")) == expected, name
    for name in ("xf8", "xf2"):
        assert loss_of(evaluate(f"{name}.npy", "y.npy", "--json")) == pytest.approx(expected)
    column = np.float32([[3], [1]])
    np.save(files / "column.npy", column)
    np.save(files / "zeros.npy", np.zeros(2, np.uint8))
    assert loss_of(evaluate("column.npy", "zeros.npy", "--json")) == 0


def test_refuses_what_is_no_array_of_numbers(files, evaluate):
    good = "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4), }"
    cases = {
        "empty.npy": (b"", "empty"),
        "magic.npy": (b"PK\3\4 and so on", "not a .npy file"),
        "version.npy": (npy(good, X.tobytes(), (4, 0)), "got 4.0"),
        "minor.npy": (npy(good, X.tobytes(), (1, 1)), "got 1.1"),
        "short.npy": (npy(good, X.tobytes())[:9], "cut short"),
        "header.npy": (npy(good, X.tobytes())[:40], "cut short"),
        "number.npy": (npy(good.replace("(6, 4)", "(24)"), X.tobytes()), "'shape'"),
        "word.npy": (npy(good.replace("6", "six"), X.tobytes()), "'shape'"),
        "huge.npy": (npy(good.replace("6", "9" * 30), X.tobytes()), "'shape'"),
        "negative.npy": (npy(good.replace("6", "-6"), X.tobytes()), "shape"),
        "order.npy": (npy(good.replace("False", "Maybe"), X.tobytes()), "fortran_order"),
        "keys.npy": (npy("{'descr': '<f4', 'shape': (6, 4), }", X.tobytes()), "fortran_order"),
        "more.npy": (npy(good.replace("{", "{'x': 1, "), X.tobytes()), "expected a header"),
        "text.npy": (npy("nothing", X.tobytes()), "expected a header"),
        "long.npy": (npy(good, X.tobytes() + b"\0"), "expected 96 bytes"),
    }
    for name, (data, word) in cases.items():
        (files / name).write_bytes(data)
        refused(evaluate(name), name, word)
    np.save(files / "objects.npy", np.array([[1, None]], dtype=object), allow_pickle=True)
    refused(evaluate("objects.npy"), "|O", "Python objects")
    np.save(files / "records.npy", np.zeros(6, [("a", "f4"), ("b", "f4")]))
    refused(evaluate("records.npy"), "records")
    np.save(files / "bool.npy", np.zeros(6, bool))
    refused(evaluate("x.npy", "bool.npy"), "|b1")


def damaged(path, change):
    data = bytearray(path.read_bytes())
    change(data)
    bad = path.with_name("bad.npz")
    bad.write_bytes(data)
    return bad.name


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_refused(files, evaluate, save):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    path = files / "good.npz"
    save(path, input=x)
    loss_of(evaluate("good.npz", "y.npy", "--json"))
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("input.npy")
    # Its data follow its own header, a name and an extra field.
    lengths = struct.unpack_from("<HH", path.read_bytes(), info.header_offset + 26)
    first = info.header_offset + 30 + sum(lengths)

    def flip(at):
        def change(data):
            data[at] ^= 0x10
        return change

    # Somewhere in the elements, be they stored or packed.
    for back in (3, info.compress_size // 4):
        refused(evaluate(damaged(path, flip(first + info.compress_size - back))), "damaged")

    def other_checksum(data):
        crc = struct.pack("<I", info.CRC)
        data[:] = bytes(data).replace(crc, b"\1\2\3\4")
    refused(evaluate(damaged(path, other_checksum)), "damaged")

    def other_size(size):
        def change(data):
            data[:] = bytes(data).replace(struct.pack("<I", info.file_size),
                                          struct.pack("<I", size))
        return change
    for size in (info.file_size - 1, info.file_size + 1, 2**31):
        refused(evaluate(damaged(path, other_size(size))), "bad.npz")

    def cut(data):
        del data[len(data) // 2:]
    refused(evaluate(damaged(path, cut)), "bad.npz")
    (files / "bad.npz").write_bytes(b"")
    refused(evaluate("bad.npz"), "bad.npz")


def test_inputs_that_are_no_files_are_refused_at_once(files, evaluate):
    for name in ("pipe.npy", "pipe.npz"):
        os.mkfifo(files / name)
        refused(evaluate(name), name, "not a regular file")
        refused(evaluate("x.npy", name), name, "not a regular file")
    for name in ("folder.npy", "folder.npz"):
        (files / name).mkdir()
        refused(evaluate(name), name, "not a regular file")
    refused(evaluate("/dev/null"), "not a regular file")
    refused(evaluate("/dev/stdin", stdin=subprocess.PIPE), "not a regular file")
    with open(files / "x.npy") as stdin:
        loss_of(evaluate("/dev/stdin", "y.npy", "--json", stdin=stdin))


def test_lost_output_is_an_error(server, files):
    on_files = ("eval", "--input", files / "x.npy", "--target", files / "y.npy")
    commands = (on_files, (*on_files, "--json"), ("info",), ("info", "--json"), ("health",),
                ("bench", "--duration", "0.01", "--warmup", "0"),
                ("bench", "--duration", "0.01", "--warmup", "0", "--json"), ("--version",),
                ("--help",), ("eval", "--help"))
    for command in commands:
        arguments = ("--server", server.tcp, *command)
        with open("/dev/full", "w") as full:
            refused(lossctl(*arguments, stdout=full), "standard output", "No space left")
        refused(lossctl(*arguments, preexec_fn=lambda: os.close(1), stdout=None),
                "standard output", "Bad file descriptor")
        read, write = os.pipe()
        os.close(read)
        refused(lossctl(*arguments, stdout=write), "standard output", "Broken pipe")
        os.close(write)


def test_closed_standard_streams_are_not_given_to_files(server, files):
    def close_all():
        for stream in range(3):
            os.close(stream)
    before = (files / "x.npy").read_bytes()
    run = lossctl("--server", server.tcp, "eval", "--input", files / "x.npy", "--target",
                  files / "y.npy", "--grad-out", files / "g.npy", preexec_fn=close_all, stdin=None,
                  stdout=None, stderr=None)
    assert run.returncode == 1
    assert np.load(files / "g.npy").shape == X.shape
    assert (files / "x.npy").read_bytes() == before


def test_output_files_are_whole_or_not_there(server, files, evaluate):
    grad = files / "g.npy"
    grad.write_text("what was there before")
    grad.chmod(0o640)
    loss_of(evaluate("x.npy", "y.npy", "--json", "--grad-out", grad))
    whole = np.load(grad)
    assert grad.stat().st_mode & 0o777 == 0o640
    # A limit on sizes in place of a full disk.
    rng = np.random.default_rng(5)
    np.save(files / "large.npy", rng.normal(size=(3000, 100)).astype(np.float32))
    np.save(files / "labels.npy", np.zeros(3000, np.int64))
    names = sorted(os.listdir(files))

    def limit():
        import resource
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    run = evaluate("large.npy", "labels.npy", "--grad-out", grad, preexec_fn=limit)
    refused(run, "g.npy", "File too large")
    assert sorted(os.listdir(files)) == names
    assert np.array_equal(np.load(grad), whole)
    # Through a link the file that it leads to is replaced.
    link = files / "link.npy"
    link.symlink_to("g.npy")
    loss_of(evaluate("x.npy", "y.npy", "--json", "--loss-out", link))
    assert link.is_symlink() and np.load(grad).shape == ()


def test_output_files_are_checked_before_the_server_is_asked(files):
    def run(*outputs):
        return lossctl("--server", "127.0.0.1:1", "--timeout", "20", "eval", "--input",
                       files / "x.npy", "--target", files / "y.npy", *outputs)
    refused(run("--grad-out", files / "no" / "g.npy"), "g.npy", "its folder", "No such file")
    refused(run("--grad-out", files), "a directory")
    refused(run("--grad-out", files / "x.npy" / "g.npy"), "g.npy", "Not a directory")
    refused(run("--grad-out", files / "g.npy", "--loss-out", f"{files}/./g.npy"), "twice")
    (files / "same.npy").symlink_to("g.npy")
    (files / "g.npy").write_text("")
    refused(run("--grad-out", files / "g.npy", "--loss-out", files / "same.npy"), "twice")


def test_output_to_devices_and_pipes(files, evaluate):
    loss_of(evaluate("x.npy", "y.npy", "--json", "--grad-out", "/dev/null", "--loss-out",
                     "/dev/null"))
    assert not os.path.isfile("/dev/null")
    refused(evaluate("x.npy", "y.npy", "--grad-out", "/dev/full"), "/dev/full", "No space left")
    os.mkfifo(files / "out.npy")
    refused(evaluate("x.npy", "y.npy", "--grad-out", files / "out.npy"), "out.npy",
            "nobody reads this pipe")


def test_a_weight_larger_than_a_message(server, tmp_path):
    for dtype, classes in ((np.float32, 1_100_000), (np.float64, 530_000)):
        np.save(tmp_path / "x.npy", np.zeros((1, classes), dtype))
        np.save(tmp_path / "y.npy", np.int64([3]))
        np.save(tmp_path / "w.npy", np.ones(classes, dtype))
        for transport in ("auto", "stream"):
            run = lossctl("--server", server.tcp, "eval", "--input", tmp_path / "x.npy", "--target",
                          tmp_path / "y.npy", "--weight", tmp_path / "w.npy", "--transport",
                          transport, "--json")
            assert loss_of(run) == pytest.approx(np.log(classes), rel=1e-7)


def test_companions_larger_than_the_input(server, tmp_path):
    for shape in ((262144, 2), (2, 2, 512, 512)):
        np.save(tmp_path / "x.npy", np.zeros(shape, np.float16))
        np.save(tmp_path / "t.npy", np.full(shape, 0.5, np.float32))
        positions = shape[:1] + shape[2:]
        np.save(tmp_path / "g.npy", np.ones(positions, np.float32))
        run = lossctl("--server", server.tcp, "eval", "--input", tmp_path / "x.npy", "--target",
                      tmp_path / "t.npy", "--grad-output", tmp_path / "g.npy", "--reduction",
                      "none", "--transport", "stream", "--grad-out", tmp_path / "dx.npy",
                      "--loss-out", tmp_path / "l.npy")
        assert run.returncode == 0, run.stderr
        assert np.all(np.load(tmp_path / "l.npy") == np.float32(np.log(2)))
        assert np.all(np.load(tmp_path / "dx.npy") == 0)
    classes = 262144
    np.save(tmp_path / "x.npy", np.zeros((3, classes), np.float16))
    np.save(tmp_path / "t.npy", np.full((3, classes), 1 / classes, np.float32))
    np.save(tmp_path / "w.npy", np.ones(classes, np.float32))
    for transport in ("auto", "stream"):
        run = lossctl("--server", server.tcp, "eval", "--input", tmp_path / "x.npy", "--target",
                      tmp_path / "t.npy", "--weight", tmp_path / "w.npy", "--transport", transport,
                      "--json")
        assert loss_of(run) == pytest.approx(12.4766493, rel=1e-7)


def test_the_axis_of_labels_that_do_not_fit_is_named(files, evaluate):
    np.save(files / "logits.npy", np.zeros((2, 5, 3), np.float32))
    np.save(files / "labels.npy", np.zeros((2, 5), np.int64))
    refused(evaluate("logits.npy", "labels.npy"), "axis 1 (class_axis)", "class_axis = -1 fits it")
    assert loss_of(evaluate("logits.npy", "labels.npy", "--class-axis", "-1", "--json")) == \
        pytest.approx(np.log(3))
    np.save(files / "floats.npy", Y.astype(float))
    refused(evaluate("x.npy", "floats.npy"), "class indices of an integer type",
            "probabilities of shape (6, 4)")
