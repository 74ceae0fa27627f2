"""Servers and clients of the load tests: real processes on loopback, ended by their own."""

import json
import pathlib
import re
import signal
import subprocess
import tempfile


class Server:
    """A lossd on a free TCP port and a Unix socket."""

    def __init__(self, binaries, *flags, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        self.unix = f"unix:{self.folder.name}/lossd.sock"
        self.process = subprocess.Popen(
            [binaries / "lossd", "--listen=127.0.0.1:0", f"--listen={self.unix}", *flags],
            text=True, stderr=subprocess.PIPE, env=environment)
        match = re.search(r"listen=(\S+?),", self.process.stderr.readline())
        self.tcp = match[1]

    def memory_mib(self, which):
        """VmRSS or VmHWM."""
        return memory_mib(self.process.pid, which)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        self.folder.cleanup()
        if status != 0:
            raise AssertionError(f"lossd ended with {status}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is not None:
            raise AssertionError(f"lossd ended by itself with {self.process.returncode}")
        self.close()


def memory_mib(pid, which):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {which} of {pid}")


class Bench:
    """A lossctl bench that runs beside others; ``report()`` waits for it."""

    def __init__(self, binaries, address, *flags):
        self.process = subprocess.Popen([binaries / "lossctl", "--server", address, "bench",
                                         "--json", *flags],
                                        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def report(self):
        out, error = self.process.communicate(timeout=3600)
        if self.process.returncode != 0:
            raise AssertionError(f"lossctl: {error}")
        return json.loads(out)


def bench(binaries, address, *flags):
    return Bench(binaries, address, *flags).report()


def peak_child_mib(command):
    """Runs a command; the peak of its memory in MiB."""
    script = ("import resource, subprocess, sys; "
              "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    out = subprocess.run(["python3", "-c", script, *map(str, command)], check=True, text=True,
                         capture_output=True)
    return int(out.stdout) / 1024
