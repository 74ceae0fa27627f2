"""Load on a real server over loopback: bounded memory, fair turns, overload, and no leak.

    load.py --binaries build/release/bin [--full] [scenario ...]

The short form takes about a minute; --full has the sizes of the promises. Each scenario prints its
figures and fails where a promise is broken. Limits on time ratios are wider in the short form,
whose samples are few.
"""

import argparse
import os
import pathlib
import sys
import time

from processes import Bench, Server, bench, peak_child_mib

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20


def check(holds, text):
    print(f"  {'ok' if holds else 'BROKEN'}: {text}", flush=True)
    if not holds:
        raise AssertionError(text)


def stream_memory(binaries, full):
    """A tensor far above memory: both processes hold a window of it."""
    rows = 16384 if full else 1024  # 8.4 GB, 0.5 GB
    for gradient in (False, True):
        with Server(binaries) as server:
            command = [binaries / "lossctl", "--server", server.tcp, "bench",
                       f"--shape={rows},128256", "--generate",
                       "--warmup=0", "--duration=0.01", *(["--grad"] if gradient else [])]
            begin = time.monotonic()
            client = peak_child_mib(command)
            seconds = time.monotonic() - begin
            peak = server.memory_mib("VmHWM")
            gigabytes = rows * 128256 * 4 / 1e9
            outputs = "with gradient" if gradient else "loss only"
            what = f"{gigabytes:.1f} GB {outputs} in {seconds:.1f} s"
            check(peak <= 256, f"{what}: server's peak {peak:.0f} MiB")
            check(client <= 256, f"{what}: client's peak {client:.0f} MiB")


def fairness(binaries, full):
    """Small calls beside four bulk streams."""
    seconds = 20 if full else 4
    with Server(binaries) as server:
        small = ["--shape=8,10", f"--duration={seconds}", "--rate=500"]
        idle = bench(binaries, server.tcp, *small)["latency_us"]
        bulk = Bench(binaries, server.tcp, "--shape=512,128256", "--concurrency=4",
                     f"--duration={seconds + 3}")
        time.sleep(1.5)
        busy = bench(binaries, server.tcp, *small)["latency_us"]
        streamed = bulk.report()
    ratio = busy["p99"] / idle["p99"]
    print(f"  (8,10): idle p50 {idle['p50']:.0f} p99 {idle['p99']:.0f} us, beside four streams of "
          f"{streamed['sent_bytes_per_second'] / 1e9:.2f} GB/s p50 {busy['p50']:.0f} "
          f"p99 {busy['p99']:.0f} us: {ratio:.1f} times")
    # The clients' own threads share these two cores, and so count in the figures: docs/load.md.
    check(busy["p99"] < 50_000, "small calls pass bulk ones within 50 ms")


def idle_calls(binaries, full):
    """One call a second: gRPC's threads do not fall asleep."""
    with Server(binaries) as server:
        latency = bench(binaries, server.tcp, "--shape=8,10", f"--duration={60 if full else 6}",
                        "--rate=1",
                        "--warmup=1")["latency_us"]
    check(latency["max"] < (10_000 if full else 50_000),
          f"one call a second: p50 {latency['p50']:.0f}, "
          f"p99 {latency['p99']:.0f}, max {latency['max']:.0f} us")


def overload(binaries, full):
    """Twice as many bulk streams as the budget admits: refused at once, served as well as ever."""
    seconds = 60 if full else 6
    flags = ["--shape=128,128256", "--generate", "--grad"]
    # Three quarters of the budget are for computing, and a stream reserves five units of 1 MiB,
    # each with its gradient: 18 streams fit, and 36 ask.
    budget, fit = 256, 18
    with Server(binaries, f"--max-memory={budget}MiB") as server:
        peak = bench(binaries, server.unix, *flags, f"--concurrency={fit}", f"--duration={seconds}")
    with Server(binaries, f"--max-memory={budget}MiB") as server:
        resting = server.memory_mib("VmRSS")
        over = bench(binaries, server.unix, *flags, f"--concurrency={2 * fit}",
                     f"--duration={seconds}", "--keep-going")
        highest = server.memory_mib("VmHWM")
        after = bench(binaries, server.unix, *flags, f"--concurrency={fit}", "--warmup=0",
                      f"--duration={max(2, seconds / 10)}")
    refusals = over.get("error_latency_us", {})
    print(f"  peak {peak['calls_per_second']:.1f} streams/s; overloaded "
          f"{over['calls_per_second']:.1f}, {over['errors']} refused "
          f"{over.get('errors_by_code')}, in us {refusals}; after it "
          f"{after['calls_per_second']:.1f} streams/s")
    check(over["errors"] > 0, "something was refused: the load is an overload")
    check(set(over["errors_by_code"]) == {"RESOURCE_EXHAUSTED"}, "refusals are RESOURCE_EXHAUSTED")
    check(highest <= resting + budget + 64,
          f"memory {highest:.0f} MiB, {resting:.0f} at rest, a budget of {budget}")
    check(after["errors"] == 0, "recovered at once")
    goodput = over["calls_per_second"] / peak["calls_per_second"]
    check(goodput >= (0.8 if full else 0.5), f"goodput {goodput:.2f} of the peak")


def leak_growth(binaries, full, environment=None):
    """Growth of the server's memory in MiB over many calls, after as many as it takes to settle."""
    calls, streams, warmup = (1_000_000, 1000, 100_000) if full else (60_000, 60, 30_000)
    with Server(binaries, environment=environment) as server:
        def run(calls, streams):
            done = 0
            while done < calls:
                done += bench(binaries, server.unix, "--shape=8,10", "--transport=many",
                              "--warmup=0", "--concurrency=2", "--duration=1")["calls"]
            done = 0
            while done < streams:
                done += bench(binaries, server.unix, "--shape=64,20000", "--grad",
                              "--transport=stream", "--warmup=0", "--concurrency=2",
                              "--duration=1")["calls"]
        def held():
            # An idle server gives freed memory back, over a second.
            time.sleep(8)
            return server.memory_mib("VmRSS")

        run(warmup, max(30, streams // 10))
        before = held()
        run(calls, streams)
        return held() - before


def leaks(binaries, full):
    """Calls leave nothing behind; a server that leaks 1 KiB for each message it sends is caught."""
    limit = 1.0 if full else 2.0  # a byte a call; some 30 in the short form
    growth = leak_growth(binaries, full)
    check(growth < limit, f"grown by {growth:.2f} MiB")
    library = binaries / "libleak.so"
    growth = leak_growth(binaries, False, environment=os.environ | {"LD_PRELOAD": str(library)})
    check(growth > limit, f"the leaking control has grown by {growth:.2f} MiB")


SCENARIOS = {f.__name__: f for f in (stream_memory, fairness, idle_calls, overload, leaks)}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS])
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.scenario or SCENARIOS:
        print(f"{name}: {SCENARIOS[name].__doc__.splitlines()[0]}", flush=True)
        try:
            SCENARIOS[name](arguments.binaries.resolve(), arguments.full)
        except AssertionError as error:
            failed += 1
            print(f"  FAILED {error}")
    print(f"{len(arguments.scenario or SCENARIOS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
