"""A real server process for the tests: LOSSD_BIN says where lossd and lossctl are."""

import contextlib
import importlib.util
import os
import pathlib
import re
import subprocess
import tempfile
from concurrent import futures

import grpc
import numpy as np
import pytest

import lossd
from lossd.v1 import service_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("LOSSD_BIN", ROOT / "build" / "release" / "bin"))


# Tests of lossd.torch and lossd.jax run where these are installed.
collect_ignore = [f"with_{name}" for name in ("torch", "jax")
                  if importlib.util.find_spec(name) is None]


class Server:
    """lossd on a free port and on a Unix socket."""

    def __init__(self, *flags, threads=2):
        self.directory = tempfile.TemporaryDirectory()
        self.unix = f"unix:{self.directory.name}/lossd.sock"
        self.process = subprocess.Popen(
            [BIN / "lossd", "--listen", "127.0.0.1:0", "--listen", self.unix, "--threads",
             str(threads), *flags], stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        found = re.search(r"listen=([0-9.]+:\d+),", line)
        assert found, line
        self.tcp = found.group(1)

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        status = self.process.wait(timeout=30)
        self.process.stderr.close()
        self.directory.cleanup()
        return status


@contextlib.contextmanager
def serving(servicer):
    """The address of a server of grpcio's own, which answers as the servicer says."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_LossServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


X = np.float32([[1, 2, 3], [3, 1, 0]])
LABELS = np.array([2, 0])


@pytest.fixture
def client(server):
    with lossd.Client(server.tcp, timeout=60) as client:
        yield client


@pytest.fixture
def unconnected():
    """A client whose calls all fail, for arguments that are refused before there is one."""
    with lossd.Client("127.0.0.1:1", timeout=1) as client:
        yield client


@pytest.fixture(scope="session")
def server():
    running = Server()
    yield running
    assert running.stop() == 0
