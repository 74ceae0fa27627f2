"""Races lossd's core against PyTorch eager, torch.compile, JAX/optax and the machine's own memory.

Every contestant is a process of its own with the same number of threads, pinned to the same CPUs.
They take turns within a round, and ratios are taken within rounds: what slows the machine for a
while slows all of them. docs/benchmarks.md says how to read the table.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = [(8, 10), (4096, 2), (65536, 10), (256, 1000), (8192, 1000), (2048, 32000), (512, 128256),
          (8, 21, 256, 256), (2, 19, 512, 1024)]
SHORT_SHAPES = [(8, 10), (4096, 2), (256, 1000), (64, 19, 16, 16)]
DTYPES = ["float32", "bfloat16"]
OPERATIONS = ["loss", "gradient"]
MEMORY = {"loss": ["read"], "gradient": ["memcpy", "stream"]}
REST_SECONDS = 0.01  # Lets threads of the one before stop looking for work.
TURN_SECONDS = 0.02  # What a turn aims at, so that small calls are timed many at once.


class Contestant:
    """A process that answers one line for one line."""

    def __init__(self, name, command, cwd=None):
        self.name = name
        self.process = subprocess.Popen(command, cwd=cwd, text=True, bufsize=1,
                                        stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"{self.name}: {line}: {answer or 'no answer'}")
        return answer

    def run(self, operation, count):
        return float(self.ask(f"run {operation} {count}"))

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def contestants(binary, threads, with_peers):
    """Ours comes first."""
    found = [Contestant("lossd", [str(binary), str(threads)])]
    if with_peers:
        python, peers = sys.executable, HERE / "peers"
        found += [
            Contestant("eager", [python, "torch_peer.py", "eager", str(threads)], peers),
            Contestant("compile", [python, "torch_peer.py", "compile", str(threads)], peers),
            Contestant("jax", [python, "jax_peer.py"], peers),
        ]
    return found


def race(everyone, shape, dtype, operation, rounds):
    """Seconds of each round, by contestant; the memory's are lossd's process too."""
    runs = {c.name: (c, operation) for c in everyone}
    runs.update({kind: (everyone[0], kind) for kind in MEMORY[operation]})
    counts = {}
    for name, (contestant, what) in runs.items():
        contestant.run(what, 1)
        counts[name] = max(1, int(TURN_SECONDS / contestant.run(what, 2)))
    times = {name: [] for name in runs}
    for number in range(rounds):
        # Another order in each round: nobody always follows the same one.
        names = list(runs)
        for name in names[number % len(names):] + names[:number % len(names)]:
            contestant, what = runs[name]
            time.sleep(REST_SECONDS)
            times[name].append(contestant.run(what, counts[name]))
    return times


def summarize(shape, dtype, operation, times):
    """Medians and ratios: how often longer each takes than lossd; memory: its share of ours."""
    ours = times["lossd"]
    row = {"shape": list(shape), "dtype": dtype, "operation": operation,
           "seconds": {name: {"min": min(t), "median": statistics.median(t)}
                       for name, t in times.items()},
           "ratios": {}}
    for name, theirs in times.items():
        if name != "lossd":
            ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
            row["ratios"][name] = {"min": min(ratios), "median": statistics.median(ratios)}
    return row


COLUMNS = ["eager", "compile", "jax", "read", "memcpy", "stream"]


def table(rows):
    head = ["shape", "dtype", "operation", "lossd ms", *COLUMNS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = ["x".join(map(str, row["shape"])), row["dtype"], row["operation"],
                 f"{row['seconds']['lossd']['median'] * 1e3:.3g}"]
        for name in COLUMNS:
            ratio = row["ratios"].get(name)
            cells.append(f"{ratio['median']:.2f} ({ratio['min']:.2f})" if ratio else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(13, 8), sharey=True)
    kinds = [(d, o) for d in DTYPES for o in OPERATIONS]
    for axis, (dtype, operation) in zip(axes.flat, kinds, strict=True):
        chosen = [r for r in rows if r["dtype"] == dtype and r["operation"] == operation]
        peers = [p for p in ("eager", "compile", "jax") if chosen and p in chosen[0]["ratios"]]
        for index, peer in enumerate(peers):
            axis.bar([i + 0.27 * (index - 1) for i in range(len(chosen))],
                     [r["ratios"][peer]["median"] for r in chosen], width=0.25, label=peer)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_title(f"{operation}, {dtype}: time of the peer over lossd's")
        axis.set_xticks(range(len(chosen)))
        axis.set_xticklabels(["x".join(map(str, r["shape"])) for r in chosen], rotation=30,
                             ha="right")
        if peers:
            axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def machine(ours):
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"cpu": model, "arch": platform.machine(), "instruction_set": ours.ask("target")}


def progress(text):
    """One line that is written over, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=pathlib.Path, required=True,
                        help="folder with core_bench")
    parser.add_argument("--out", type=pathlib.Path, required=True,
                        help="folder for core.json, core.md, core.svg")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--short", action="store_true", help="no peers, small shapes, two rounds")
    parser.add_argument("--alone", action="store_true",
                        help="no peers: lossd and the machine's memory")
    parser.add_argument("--dtype", action="append", choices=DTYPES,
                        help="only this type; repeatable")
    parser.add_argument("--target", choices=["index", "smoothing", "probabilities"],
                        default="index",
                        help="labels, labels smoothed by 0.1, or probabilities")
    parser.add_argument("--shape", action="append",
                        help="only this shape, such as 512x128256; repeatable")
    arguments = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))[:arguments.threads]
    os.sched_setaffinity(0, cpus)
    everyone = contestants(arguments.binaries / "core_bench", arguments.threads,
                           not arguments.short and not arguments.alone)
    shapes = SHORT_SHAPES if arguments.short else SHAPES
    if arguments.shape:
        shapes = [tuple(int(n) for n in s.split("x")) for s in arguments.shape]
    rounds = 2 if arguments.short else arguments.rounds
    rows = []
    about = machine(everyone[0]) | {"threads": arguments.threads, "cpus": len(cpus),
                                    "rounds": rounds,
                                   "target": arguments.target}
    for dtype in arguments.dtype or DTYPES:
        prepared = dtype if arguments.target == "index" else f"{dtype}/{arguments.target}"
        for shape in shapes:
            for contestant in everyone:
                contestant.ask(" ".join(["prepare", prepared, *map(str, shape)]))
            for operation in OPERATIONS:
                rows.append(summarize(shape, dtype, operation,
                                      race(everyone, shape, dtype, operation, rounds)))
                progress(f"{dtype} {shape} {operation}")
    progress("")
    for contestant in everyone:
        contestant.close()
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = json.dumps({"machine": about, "rows": rows}, indent=1)
    (arguments.out / "core.json").write_text(report + "\n")
    title = (f"{about['cpu']}, {about['instruction_set']}, {about['threads']} threads, "
             f"{rounds} rounds, {arguments.target} targets")
    text = f"{title}\n\n{table(rows)}\n"
    (arguments.out / "core.md").write_text(text)
    print(text)
    if len(everyone) > 1:
        plot(rows, arguments.out / "core.svg")


if __name__ == "__main__":
    main()
