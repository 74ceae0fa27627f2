"""A peer that a driver takes turns with: one command a line on stdin, one answer a line on stdout.

    prepare DTYPE[/TARGET] N C [d1 ...]   -> ready; TARGET is smoothing or probabilities
    run loss|gradient COUNT               -> mean seconds of COUNT runs
    quit

A peer holds as many copies of its input as core_bench does, so that both meet cold caches.
"""

import sys
import time

LINE = 64
ROTATION = 256 << 20
MOST_COPIES = 4096


def copies(input_bytes):
    """How many inputs are rotated: some 256 MiB of them."""
    stride = -(-input_bytes // LINE) * LINE
    return min(max(ROTATION // stride, 2), MOST_COPIES)


def serve(make_problem):
    """Answers commands. ``make_problem(dtype, shape, target)`` gives an object whose ``loss(i)``
    and ``gradient(i)`` evaluate copy i (0 <= i < ``count``) to the end."""
    problem = None
    turn = 0
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        if words[0] == "prepare":
            problem = None
            dtype, _, target = words[1].partition("/")
            problem = make_problem(dtype, [int(word) for word in words[2:]], target or "index")
            # Compiles and warms up before anything is timed.
            for i in range(3):
                problem.loss(i % problem.count)
                problem.gradient(i % problem.count)
            print("ready", flush=True)
            continue
        run = {"loss": problem.loss, "gradient": problem.gradient}[words[1]]
        count = int(words[2])
        begin = time.perf_counter()
        for _ in range(count):
            run(turn % problem.count)
            turn += 1
        print((time.perf_counter() - begin) / count, flush=True)
