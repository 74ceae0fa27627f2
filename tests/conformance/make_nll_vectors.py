#!/usr/bin/env python3
"""Makes nll_loss.jsonl: problems of torch.nn.NLLLoss and the answers that PyTorch gives.

Run once, with PyTorch installed:

    python3 tests/conformance/make_nll_vectors.py > tests/conformance/nll_loss.jsonl

Values and roundings are those of make_vectors.py.
"""

import itertools
import json
import random

import numpy as np
import torch
from make_vectors import DTYPES, INTEGERS, encode, grid, rounded

SHAPES = [((5,), None), ((3, 4), None), ((4, 2), 0), ((2, 3, 2), None), ((2, 2, 3), -1),
          ((1, 2, 2, 2), None), ((2, 17), None), ((3, 70), None), ((2, 70, 3), None)]


def tensor(values, shape):
    return torch.tensor([float(v) for v in values], dtype=torch.float64).reshape(shape)


def solve(case):
    """Fills case["expect"]: loss and grad_input."""
    shape, axis = case["shape"], case.get("class_axis")
    x = tensor(case["input"], shape).requires_grad_(True)
    moved = x if axis is None or len(shape) == 1 else x.movedim(axis, 1)
    target = torch.tensor(case["target"]["values"], dtype=torch.int64)
    weight = tensor(case["weight"]["values"], [-1]) if "weight" in case else None
    loss = torch.nn.functional.nll_loss(
        moved, target.reshape(case["target"]["shape"]), weight=weight,
        reduction=case["reduction"], ignore_index=case.get("ignore_index", -100))
    g = torch.ones_like(loss)
    if "grad_output" in case:
        g = tensor(case["grad_output"]["values"], loss.shape)
    loss.backward(g)
    loss_dtype = "float64" if case["dtype"] == "float64" else "float32"
    # Zeros of the service are +0.
    case["expect"] = {"loss": rounded(loss + 0.0, loss_dtype),
                      "grad_input": rounded(x.grad + 0.0, case["dtype"])}
    return case


def make(rng, name, dtype, shape, axis, weighted, reduction, ignore, incoming, integer):
    where = (axis if axis is not None else min(1, len(shape) - 1)) % len(shape)
    classes = shape[where]
    positions = [s for i, s in enumerate(shape) if i != where]
    count = int(np.prod(positions)) if positions else 1
    companion = dtype if dtype in ("float32", "float64") or rng.random() < 0.5 else "float32"
    labels = [rng.randrange(classes) for _ in range(count)]
    case = {"criterion": "nll_loss", "name": name, "dtype": dtype, "shape": list(shape),
            "reduction": reduction, "input": encode(grid(rng, int(np.prod(shape)), 0.125, -9, 0))}
    if axis is not None:
        case["class_axis"] = axis
    if ignore is not None:
        case["ignore_index"] = ignore
        if ignore >= 0 or integer.startswith("int"):
            labels = [ignore if rng.random() < 0.3 else y for y in labels]
    case["target"] = {"dtype": integer, "shape": positions, "values": labels}
    if weighted:
        case["weight"] = {"dtype": companion, "values": encode(grid(rng, classes, 0.25, 0.25, 2))}
    if incoming:
        count = count if reduction == "none" else 1
        case["grad_output"] = {"dtype": companion, "values": encode(grid(rng, count, 0.25, -2, 2))}
    return solve(case)


def edges():
    """Where PyTorch and the service agree."""
    def case(name, shape, values, labels, **more):
        return solve({"criterion": "nll_loss", "name": f"nll_edge_{name}", "dtype": "float32",
                      "shape": shape, "input": values,
                      "target": {"dtype": "int64", "shape": shape[:-1], "values": labels}, **more})

    rows = [-1, -2, -3, -4, -5, -6]
    for reduction in ("none", "sum", "mean"):
        more = {"reduction": reduction}
        yield case(f"all_ignored_{reduction}", [2, 3], rows, [-100, -100], **more)
        yield case(f"empty_batch_{reduction}", [0, 3], [], [], **more)
        yield case(f"nan_elsewhere_{reduction}", [2, 3], [-1, "nan", *rows[2:]], [0, 2], **more)
        yield case(f"nan_at_target_{reduction}", [2, 3], [-1, "nan", *rows[2:]], [1, 2], **more)
        yield case(f"minus_infinity_{reduction}", [2, 3], [-1, "-inf", *rows[2:]], [1, 2], **more)
        yield case(f"plus_infinity_{reduction}", [2, 3], ["inf", *rows[1:]], [0, 2], **more)
        yield case(f"zero_weights_{reduction}", [2, 3], rows, [0, 0],
                   weight={"dtype": "float32", "values": [0, 1, 1]}, **more)
        yield case(f"negative_weight_{reduction}", [2, 3], rows, [0, 1],
                   weight={"dtype": "float32", "values": [-1, 2, 0.5]}, **more)
        yield case(f"scalar_{reduction}", [4], rows[:4], [2], **more)


def main():
    rng = random.Random(20261127)
    number = 0
    for dtype in DTYPES:
        chosen = SHAPES if dtype in ("float32", "float64") else SHAPES[1::2]
        for (shape, axis), weighted, reduction in itertools.product(
                chosen, (False, True), ("none", "sum", "mean")):
            number += 1
            name = f"nll_{number:04d}_{dtype}_{'x'.join(map(str, shape))}_{reduction}"
            case = make(rng, name, dtype, shape, axis, weighted, reduction,
                        rng.choice([None, None, -100, -1, 1]), number % 3 == 0,
                        INTEGERS[number % len(INTEGERS)])
            print(json.dumps(case, separators=(",", ":")))
    for case in edges():
        print(json.dumps(case, separators=(",", ":")))


if __name__ == "__main__":
    main()
