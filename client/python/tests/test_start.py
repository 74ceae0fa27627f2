"""How lossd starts, and how it ends: settings, sockets, signals, descriptors, threads."""

import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import time

import grpc
import numpy as np
import pytest
from conftest import BIN, Server

import lossd
from lossd.v1 import criterion_pb2, service_pb2, tensor_pb2

started = []


@pytest.fixture(autouse=True)
def nothing_is_left():
    """A test that fails leaves its processes behind."""
    yield
    while started:
        process = started.pop()
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()


def start(*arguments, environment=None, **kwargs):
    """A process whose standard error can be read."""
    process = subprocess.Popen([BIN / "lossd", *map(str, arguments)], stderr=subprocess.PIPE,
                               text=True, env={**os.environ, **(environment or {})}, **kwargs)
    started.append(process)
    return process


def serving(process):
    """Waits for the line that says so; what it says, by key."""
    line = process.stderr.readline()
    assert "state=serving" in line, line + process.stderr.read()
    return dict(re.findall(r"(\w+)=(\S+)", line))


def end(process, number=signal.SIGTERM, timeout=30):
    process.send_signal(number)
    return process.wait(timeout)


def refused(*arguments, **kwargs):
    """The one line of a start that fails with status 1."""
    process = start(*arguments, **kwargs)
    _, line = process.communicate(timeout=30)
    assert process.returncode == 1, (process.returncode, line)
    assert line.startswith("lossd: ") and line.count("\n") == 1, line
    return line


def stream_header():
    """A problem of one position and two classes, and its label, as the wire has them."""
    header = service_pb2.EvaluateStreamHeader(
        criterion=criterion_pb2.Criterion(cross_entropy=criterion_pb2.CrossEntropy()))
    header.input.dtype = tensor_pb2.DATA_TYPE_FLOAT32
    header.input.shape.extend([1, 2])
    header.target.dtype = tensor_pb2.DATA_TYPE_UINT8
    header.target.shape.append(1)
    return service_pb2.EvaluateStreamRequest(header=header, target=b"\0").SerializeToString()


def two_logits():
    return service_pb2.EvaluateStreamRequest(input=bytes(8)).SerializeToString()


def watch(address):
    """An open watch of health, of which one answer is here."""
    channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
    next(call)
    return channel, call


def test_a_config_file_is_named_by_flag_or_variable(tmp_path):
    config = tmp_path / "lossd.toml"
    config.write_text('listen = ["127.0.0.1:0"]\nthreads = 3\nmax-rank = 5\n')
    for arguments, environment in (((), {"LOSSD_CONFIG": str(config)}),
                                   (("--config", config), {"LOSSD_CONFIG": "/nonexistent"})):
        process = start(*arguments, environment=environment)
        assert serving(process)["threads"] == "3"
        assert end(process) == 0
    process = start("--config", config, "--threads", "2", environment={"LOSSD_THREADS": "1"})
    assert serving(process)["threads"] == "2"
    assert end(process) == 0


def test_a_bad_setting_is_one_line(tmp_path):
    config = tmp_path / "lossd.toml"
    config.write_text('max_memory = "64MiB"\n')
    assert f"{config}:1: max_memory: unknown; did you mean max-memory?" in refused(
        "--config", config)
    assert "LOSSD_CONFIG: cannot read /nonexistent: No such file or directory" in refused(
        environment={"LOSSD_CONFIG": "/nonexistent"})
    assert "LOSSD_THREADS: expected a whole number" in refused(environment={"LOSSD_THREADS": "x"})
    for arguments in (("--max-memory", "-1"), ("--shutdown-grace", "nan"), ("--threads", "many"),
                      ("--thread", "1"), ("serve",)):
        assert arguments[0] in refused(*arguments)


def test_an_unknown_variable_is_a_warning():
    process = start("--listen", "127.0.0.1:0", environment={"LOSSD_MAX_MEMROY": "1GiB"})
    assert "did you mean LOSSD_MAX_MEMORY?" in process.stderr.readline()
    serving(process)
    assert end(process) == 0


def test_help_names_every_flag_and_version_is_one_line():
    text = subprocess.run([BIN / "lossd", "--help"], capture_output=True, text=True, check=True)
    assert "--max-memory (LOSSD_MAX_MEMORY)" in text.stdout and not text.stderr
    version = subprocess.run([BIN / "lossd", "--version"], capture_output=True, text=True,
                             check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)
    with open("/dev/full", "w") as full:
        assert subprocess.run([BIN / "lossd", "--help"], stdout=full,
                              stderr=subprocess.DEVNULL, check=False).returncode == 1


@pytest.mark.parametrize("flags", [("--idle-stream", "0"), ("--header-wait", "0"),
                                   ("--handshake-timeout", "0", "--max-connection-age", "0",
                                    "--max-connection-age-grace", "0", "--max-connection-idle",
                                    "0")])
def test_zero_is_no_limit(flags):
    process = start("--listen", "127.0.0.1:0", *flags)
    address = serving(process)["listen"]
    with grpc.insecure_channel(address) as channel:
        def slowly():
            time.sleep(0.4)
            yield stream_header()
            time.sleep(0.4)
            yield two_logits()
        evaluate = channel.stream_stream("/lossd.v1.LossService/EvaluateStream")
        replies = evaluate(slowly(), timeout=20)
        assert len(list(replies)) >= 1
    assert end(process) == 0


def test_of_two_servers_on_one_socket_one_serves(tmp_path):
    for i in range(3):
        path = tmp_path / f"{i}.sock"
        two = [start("--listen", f"unix:{path}") for _ in range(2)]
        ready = [process.stderr.readline() for process in two]
        up = [process for process, line in zip(two, ready, strict=True) if "state=serving" in line]
        assert len(up) == 1, ready
        down = two[1 - two.index(up[0])]
        assert down.wait(30) == 1
        assert ready[two.index(down)].startswith(f"lossd: cannot listen on unix:{path}: ")
        assert path.exists()
        with lossd.Client(f"unix:{path}") as client:
            assert client.cross_entropy(np.float32([[1, 2]]), [0]).positions == 1
        assert end(up[0]) == 0
        assert not list(tmp_path.iterdir())


def test_a_socket_whose_server_was_killed_is_replaced(tmp_path):
    address = f"unix:{tmp_path}/lossd.sock"
    killed = start("--listen", address)
    serving(killed)
    assert end(killed, signal.SIGKILL) == -signal.SIGKILL
    assert (tmp_path / "lossd.sock").exists()
    process = start("--listen", address)
    serving(process)
    assert end(process) == 0
    assert not list(tmp_path.iterdir())


def test_what_belongs_to_others_stays(tmp_path):
    (tmp_path / "file").write_text("precious")
    assert "no socket" in refused("--listen", f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "precious"
    with socket.socket(socket.AF_UNIX) as owner, socket.socket(socket.AF_UNIX) as waiting:
        owner.bind(f"{tmp_path}/hung")
        owner.listen(0)
        waiting.connect(f"{tmp_path}/hung")
        begin = time.monotonic()
        assert "does not answer" in refused("--listen", f"unix:{tmp_path}/hung")
        assert time.monotonic() - begin < 20
        owner.listen(5)
        assert "answers there" in refused("--listen", f"unix:{tmp_path}/hung")
        assert (tmp_path / "hung").exists()


def test_the_cause_of_a_refused_address(tmp_path, server):
    for address, cause in ((f"unix:{tmp_path}/no/x", "No such file or directory"),
                           (server.tcp, "Address already in use"),
                           (server.unix, "another lossd holds"),
                           ("192.0.2.1:0", "Cannot assign requested address"),
                           ("no-such-host.invalid:0", "ame")):
        line = refused("--listen", "127.0.0.1:0", "--listen", address)
        assert f"cannot listen on {address}: " in line and cause in line, line


def test_a_path_is_taken_as_it_is_written(tmp_path):
    process = start("--listen", f"unix:{tmp_path}/a%41 b")
    serving(process)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a%41 b", "a%41 b.lock"]
    assert (tmp_path / "a%41 b.lock").stat().st_mode & 0o777 == 0o600
    assert end(process) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start(tmp_path, number):
    os.mkfifo(tmp_path / "config")  # Nobody writes: the start waits.
    process = start("--config", tmp_path / "config")
    time.sleep(0.5)
    assert process.poll() is None
    assert end(process, number, timeout=10) == 128 + number


def test_signals_that_the_parent_has_blocked_are_heard():
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        process = start("--listen", "127.0.0.1:0")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    serving(process)
    assert end(process) == 0


def test_open_files_are_raised_to_the_hard_limit():
    hard = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    process = start("--listen", "127.0.0.1:0", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (64, hard)))
    assert serving(process)["open_files"] == str(hard)
    limits = pathlib.Path(f"/proc/{process.pid}/limits").read_text()
    assert re.search(rf"Max open files\s+{hard}\s+{hard}\s", limits), limits
    assert end(process) == 0


def test_threads_that_cannot_be_had_are_one_line():
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (1_000_000 * 1024,) * 2)
    if subprocess.run([BIN / "lossd", "--version"], preexec_fn=little,
                      capture_output=True, check=False).returncode != 0:
        pytest.skip("a sanitizer needs more addresses than that")
    line = refused("--threads", "1024", "--listen", "127.0.0.1:0", preexec_fn=little)
    assert "1024 worker threads (--threads)" in line


def test_what_does_not_compute_is_not_waited_for():
    server = Server("--drain-timeout", "30")
    channel, call = watch(server.tcp)
    reflect = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    silent_reflection = reflect(iter(lambda: time.sleep(60), None), timeout=60)
    host, port = server.tcp.rsplit(":", 1)
    with socket.create_connection((host, int(port))):
        time.sleep(0.3)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10
    assert call.code() is not None and silent_reflection is not None
    channel.close()


def test_what_computes_is_waited_for():
    server = Server("--drain-timeout", "30")
    channel, _ = watch(server.tcp)
    sent = []

    def slowly():
        yield stream_header()
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(2)
        sent.append(server.process.poll())
        yield two_logits()

    evaluate = channel.stream_stream("/lossd.v1.LossService/EvaluateStream")
    assert len(list(evaluate(slowly(), timeout=30))) >= 1
    assert sent == [None]
    begin = time.monotonic()
    assert server.process.wait(20) == 0
    assert time.monotonic() - begin < 10
    channel.close()
    server.process.stderr.close()
    server.directory.cleanup()


def frame(kind, flags, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + bytes(4) + payload


def test_pings_every_five_seconds_are_welcome_without_calls(server):
    """gRPC's third strike would be at the fourth ping."""
    host, port = server.tcp.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, b""))
        for i in range(4):
            connection.sendall(frame(6, 0, bytes([i]) * 8))
            if i < 3:
                time.sleep(5.2)
        received = b""
        last = frame(6, 1, bytes([3]) * 8)
        while last not in received:
            piece = connection.recv(65536)
            assert piece, "the server closed the connection"
            received += piece
        assert b"too_many_pings" not in received
