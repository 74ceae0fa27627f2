"""Races the service against what the wire allows and against a Python service, over TCP and over a
Unix socket: a raw gRPC echo and sink of the same bytes with the same settings, and grpcio with
PyTorch. Turns are taken in rounds and ratios within them; docs/benchmarks.md says how to read them.
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CHUNK = 1 << 20


class Service:
    """A server process that says ``ready ADDR`` and ends when its stdin does."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        words = self.process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise RuntimeError(f"{command[0]} is not ready")
        self.address = words[1]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Lossd:
    def __init__(self, binaries, unix):
        self.process = subprocess.Popen(
            [binaries / "lossd", "--listen=127.0.0.1:0", f"--listen={unix}", "--log-level=info"],
            text=True, stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        listen = next(word for word in line.split() if word.startswith("listen="))
        self.tcp, self.unix = listen.removeprefix("listen=").split(",")

    def peak_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return float("nan")

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


def lossctl(binaries, address, *flags):
    command = [binaries / "lossctl", "--server", address, "bench", "--json", "--warmup=0.3", *flags]
    return json.loads(subprocess.run(command, check=True, text=True, capture_output=True).stdout)


def peer(binaries, *words):
    """Seconds of each call; the first, which connects, is left out."""
    command = [binaries / "bench_peer", *map(str, words)]
    return json.loads(subprocess.run(command, check=True, text=True,
                                     capture_output=True).stdout)[1:]


def one_call(binaries, address, echo, seconds, turns):
    """p50 of a call with (8,10) float32 logits over an echo of as many bytes, and over one through
    a channel that tries calls again as lossd's client does. Where the kernel puts the threads of a
    process decides on a third of a call's time, so that many short ones are started."""
    rows = []
    for _ in range(turns):
        ours = lossctl(binaries, address, "--shape=8,10",
                       f"--duration={seconds}")["latency_us"]["p50"]
        row = {"p50_us": ours}
        for kind, name in (("call", "echo"), ("retried", "retried_echo")):
            calls = peer(binaries, kind, echo, "/bench/Call", 440, max(50, int(seconds * 4000)))
            row[f"{name}_p50_us"] = statistics.median(calls) * 1e6
            row[f"p50_over_{name}"] = ours / row[f"{name}_p50_us"]
        rows.append(row)
    return {key: median(rows, key) for key in rows[0]}


def small_calls(binaries, address, echo, seconds, rounds):
    """Calls a second of (8,10) float32 logits: of 16 connections over as many echoes, and
    pipelined."""
    rows = []
    for _ in range(rounds):
        ours = lossctl(binaries, address, "--shape=8,10", f"--duration={seconds}")
        many = lossctl(binaries, address, "--shape=8,10", "--transport=many",
                       f"--duration={seconds}")
        crowd = lossctl(binaries, address, "--shape=8,10", "--concurrency=16",
                        f"--duration={seconds}")
        echoed = peer(binaries, "load", echo, "/bench/Call", 440, 16, int(seconds * 1000))
        rows.append({"calls_of_16_over_echo": crowd["calls_per_second"] / (len(echoed) / seconds),
                     "many_over_unary": many["calls_per_second"] / ours["calls_per_second"]})
    return {key: median(rows, key) for key in rows[0]}


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def streams(binaries, address, echo, shape, gradient, calls, rounds):
    """Bytes a second one way, over those of a sink (loss) or an echo (gradient) of the same
    bytes."""
    size = shape[0] * shape[1] * 4
    flags = [f"--shape={shape[0]},{shape[1]}", "--transport=stream", *["--grad"] * gradient]
    kind = "Echo" if gradient else "Sink"
    rows = []
    for _ in range(rounds):
        bare, copy = (statistics.median(peer(binaries, "stream", echo, f"/bench/{method}", size,
                                             CHUNK, calls + 1))
                      for method in (kind, f"{kind}Copy"))
        ours = lossctl(binaries, address, f"--duration={max(0.3, copy * calls)}",
                       *flags)["latency_us"]["p50"] / 1e6
        rows.append({"bytes_per_second": size / ours, "over_copy": copy / ours,
                     "over_bare": bare / ours})
    return {key: median(rows, key) for key in rows[0]}


def wire_alone(binaries, echo, shape, gradient, calls):
    """Seconds of a call that only moves the bytes of ours."""
    size = 4 * shape[0] * shape[1]
    if size <= CHUNK:
        return statistics.median(peer(binaries, "call", echo, "/bench/Call", size, calls + 1))
    method = "/bench/Echo" if gradient else "/bench/Sink"
    return statistics.median(peer(binaries, "stream", echo, method, size, CHUNK, calls + 1))


def python_service(binaries, address, other, echo, shape, gradient, calls, rounds):
    """How many times longer a call of the Python service takes, over TCP: from a Python client, as
    its user would have it, and from the raw C++ client, which no Python slows; and what the first
    would be if the wire alone were called."""
    rows, classes = shape
    size = 24 + 8 * rows + 4 * rows * classes
    flags = [f"--shape={rows},{classes}"] + (["--grad"] if gradient else [])
    client = [sys.executable, HERE / "peers" / "torch_client.py", other, str(rows), str(classes),
              str(int(gradient)), str(calls + 1)]
    ratios, raw_ratios, wire_ratios = [], [], []
    for _ in range(rounds):
        python = subprocess.run(client, check=True, text=True, capture_output=True).stdout
        whole = statistics.median(json.loads(python)[1:])
        theirs = statistics.median(
            peer(binaries, "call", other, "/bench/Evaluate", size, calls + 1, rows, classes,
                 int(gradient)))
        ours = lossctl(binaries, address, f"--duration={max(0.3, theirs * calls / 3)}",
                       *flags)["latency_us"]["p50"] / 1e6
        ratios.append(whole / ours)
        raw_ratios.append(theirs / ours)
        wire_ratios.append(whole / wire_alone(binaries, echo, shape, gradient, calls))
    return {"times": statistics.median(ratios), "least": min(ratios),
            "raw_client_times": statistics.median(raw_ratios),
            "wire_times": statistics.median(wire_ratios)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True,
                        help="folder for service.json and service.md")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true",
                        help="no Python service, small sizes, one round")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:arguments.threads])
    folder = tempfile.TemporaryDirectory()
    binaries, short = arguments.binaries, arguments.short
    rounds = 1 if short else arguments.rounds
    lossd = Lossd(binaries, f"unix:{folder.name}/lossd.sock")
    echoes = {"tcp": Service([binaries / "bench_peer", "serve", "127.0.0.1:0"]),
              "unix": Service([binaries / "bench_peer", "serve", f"unix:{folder.name}/echo.sock"])}
    results, lines = {}, ["| what | wire | figures |", "|---|---|---|"]
    print("\n".join(lines), flush=True)

    def record(what, wire, figures):
        results[f"{what}, {wire}"] = figures
        text = ", ".join(f"{key} {value:.3g}" for key, value in figures.items())
        lines.append(f"| {what} | {wire} | {text} |")
        print(lines[-1], flush=True)

    shape = (16, 20000) if short else (512, 128256)
    for wire, echo in echoes.items():
        address = lossd.tcp if wire == "tcp" else lossd.unix
        record("(8,10) call", wire,
               one_call(binaries, address, echo.address, 0.3 if short else 0.5,
                        1 if short else 5 * rounds))
        record("(8,10) calls", wire,
               small_calls(binaries, address, echo.address, 0.3 if short else 1.5, rounds))
        for gradient in (False, True):
            what = f"{shape} stream, {'gradient' if gradient else 'loss'}"
            record(what, wire, streams(binaries, address, echo.address, shape, gradient, 3, rounds))
    record("server's peak memory", "all", {"MiB": lossd.peak_mib()})
    if not short:
        other = Service([sys.executable, HERE / "peers" / "torch_service.py",
                         str(arguments.threads)])
        for shape, calls in (((8, 10), 300), ((8192, 1000), 5), ((128, 128256), 5)):
            for gradient in (False, True):
                what = f"{shape} {'gradient' if gradient else 'loss'}, Python service over lossd"
                record(what, "tcp",
                       python_service(binaries, lossd.tcp, other.address, echoes["tcp"].address,
                                      shape,
                                                   gradient, calls, rounds))
        other.close()
    for echo in echoes.values():
        echo.close()
    lossd.close()
    folder.cleanup()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "service.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / "service.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
