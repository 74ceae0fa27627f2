"""A real server process for the tests: LOSSD_BIN says where lossd and lossctl are."""

import os
import pathlib
import re
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("LOSSD_BIN", ROOT / "build" / "release" / "bin"))


class Server:
    """lossd on a free port and on a Unix socket."""

    def __init__(self, *flags):
        self.directory = tempfile.TemporaryDirectory()
        self.unix = f"unix:{self.directory.name}/lossd.sock"
        self.process = subprocess.Popen(
            [BIN / "lossd", "--listen", "127.0.0.1:0", "--listen", self.unix, "--threads", "2",
             *flags], stderr=subprocess.PIPE, text=True)
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


@pytest.fixture(scope="session")
def server():
    running = Server()
    yield running
    assert running.stop() == 0
