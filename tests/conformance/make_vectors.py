#!/usr/bin/env python3
"""Makes vectors.jsonl: problems and the answers that PyTorch gives, one case a line.

Run once, with PyTorch installed:

    python3 tests/conformance/make_vectors.py > tests/conformance/vectors.jsonl

Answers are computed in float64 from values that every tested type holds exactly, and rounded to the
type that the service returns. Cases where the service is deliberately better than PyTorch (ignored
positions with infinite logits, zero masses at -inf) are not here; tests/core has them.
"""

import functools
import itertools
import json
import math
import random
import sys

import numpy as np
import torch

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]


def encode(values):
    """Numbers as JSON; NaN and infinities as strings."""
    out = []
    for v in values:
        v = float(v)
        if math.isnan(v):
            out.append("nan")
        elif v in (float("inf"), float("-inf")):
            out.append("inf" if v > 0 else "-inf")
        else:
            out.append(int(v) if v == int(v) and abs(v) < 1e9 else v)
    return out


def rounded(tensor, dtype):
    """A float64 tensor rounded to `dtype`, as the shortest decimals that give it back."""
    flat = tensor.detach().reshape(-1)
    if dtype == "float64":
        return encode(flat.tolist())
    if dtype == "bfloat16":
        shortest = functools.partial(np.format_float_positional, precision=5, fractional=False)
        return encode(float(shortest(np.float32(v))) if np.isfinite(v) else v
                      for v in flat.to(torch.bfloat16).to(torch.float64).tolist())
    narrow = flat.numpy().astype(dtype)
    return encode(float(str(v)) for v in narrow)


def grid(rng, count, step, low, high):
    return [rng.randint(int(low / step), int(high / step)) * step for _ in range(count)]


def solve(case):
    """Fills case["expect"]: loss, grad_input, and grad_target and grad_weight where PyTorch has
    them."""
    dtype = case["dtype"]
    loss_dtype = "float64" if dtype == "float64" else "float32"
    shape = case["shape"]
    axis = case.get("class_axis")
    number = float
    x = torch.tensor([number(v) for v in case["input"]], dtype=torch.float64).reshape(shape)
    x.requires_grad_(True)
    moved = x if axis is None or len(shape) == 1 else x.movedim(axis, 1)
    target = case["target"]
    probabilities = target["dtype"] in DTYPES
    if probabilities:
        t = torch.tensor([number(v) for v in target["values"]], dtype=torch.float64).reshape(shape)
        t.requires_grad_(True)
        t_moved = t if moved is x else t.movedim(axis, 1)
    else:
        t_moved = torch.tensor(target["values"], dtype=torch.int64).reshape(target["shape"])
    weight = None
    if "weight" in case:
        weight = torch.tensor([number(v) for v in case["weight"]["values"]], dtype=torch.float64)
        weight.requires_grad_(probabilities)
    loss = torch.nn.functional.cross_entropy(
        moved, t_moved, weight=weight, reduction=case["reduction"],
        ignore_index=case.get("ignore_index", -100),
        label_smoothing=case.get("label_smoothing", 0.0))
    g = torch.ones_like(loss)
    if "grad_output" in case:
        g = torch.tensor([number(v) for v in case["grad_output"]["values"]],
                         dtype=torch.float64).reshape(loss.shape)
    loss.backward(g)
    expect = {"loss": rounded(loss, loss_dtype), "grad_input": rounded(x.grad, dtype)}
    if probabilities:
        expect["grad_target"] = rounded(t.grad, target["dtype"])
        if weight is not None:
            expect["grad_weight"] = rounded(weight.grad, case["weight"]["dtype"])
    case["expect"] = expect
    return case


def make(rng, name, dtype, shape, axis, kind, weighted, smoothing, reduction, ignore, incoming,
         integer):
    where = (axis if axis is not None else min(1, len(shape) - 1)) % len(shape)
    classes = shape[where]
    elements = int(np.prod(shape))
    positions = [s for i, s in enumerate(shape) if i != where]
    count = int(np.prod(positions)) if positions else 1
    case = {"name": name, "dtype": dtype, "shape": list(shape), "reduction": reduction}
    if axis is not None:
        case["class_axis"] = axis
    companion = dtype if dtype in ("float32", "float64") or rng.random() < 0.5 else "float32"
    case["input"] = encode(grid(rng, elements, 0.125, -6, 6))
    if kind == "index":
        labels = [rng.randrange(classes) for _ in range(count)]
        if ignore is not None:
            case["ignore_index"] = ignore
            value = ignore
            if 0 <= value < 256 or integer.startswith("int"):
                labels = [value if rng.random() < 0.3 else y for y in labels]
        case["target"] = {"dtype": integer, "shape": positions, "values": labels}
    else:
        case["target"] = {"dtype": companion, "shape": list(shape),
                          "values": encode(grid(rng, elements, 0.0625, 0, 1))}
    if weighted:
        case["weight"] = {"dtype": companion, "values": encode(grid(rng, classes, 0.25, 0.25, 2))}
    if smoothing:
        case["label_smoothing"] = smoothing
    if incoming:
        case["grad_output"] = {"dtype": companion,
                               "values": encode(grid(rng, count if reduction == "none" else 1,
                                                     0.25, -2, 2))}
    return solve(case)


def edge(name, **fields):
    case = {"name": "edge_" + name, "dtype": "float32", "reduction": "mean"}
    case.update(fields)
    return solve(case)


def index(values, shape=None, dtype="int64"):
    return {"dtype": dtype, "shape": [len(values)] if shape is None else shape, "values": values}


def edges():
    rows = [1, 2, 3, 4, 5, 6]
    for reduction in ("none", "sum", "mean"):
        yield edge(f"all_ignored_{reduction}", shape=[2, 3], input=rows, target=index([-100, -100]),
                   reduction=reduction)
        yield edge(f"empty_batch_{reduction}", shape=[0, 3], input=[], target=index([]),
                   reduction=reduction)
        yield edge(f"empty_batch_probabilities_{reduction}", shape=[0, 3], input=[],
                   target={"dtype": "float32", "shape": [0, 3], "values": []}, reduction=reduction)
        yield edge(f"empty_inner_{reduction}", shape=[2, 3, 0], input=[],
                   target=index([], [2, 0]), reduction=reduction)
        yield edge(f"zero_weights_{reduction}", shape=[3, 3], input=[*rows, 0, 1, 0],
                   target=index([0, 0, -100]), weight={"dtype": "float32", "values": [0, 1, 1]},
                   reduction=reduction)
        yield edge(f"one_class_{reduction}", shape=[2, 1], input=[3, -2], target=index([0, 0]),
                   reduction=reduction)
        yield edge(f"minus_infinity_elsewhere_{reduction}", shape=[2, 3],
                   input=[1, "-inf", 3, "-inf", 0, 2], target=index([0, 2]), reduction=reduction)
        yield edge(f"minus_infinity_at_target_{reduction}", shape=[2, 3],
                   input=[1, "-inf", 3, 1, 0, 2], target=index([1, 2]), reduction=reduction)
        yield edge(f"nan_{reduction}", shape=[2, 3], input=[1, "nan", 3, 1, 0, 2],
                   target=index([0, 2]), reduction=reduction)
        yield edge(f"plus_infinity_{reduction}", shape=[2, 3], input=[1, "inf", 3, 1, 0, 2],
                   target=index([0, 2]), reduction=reduction)
        yield edge(f"wide_spread_{reduction}", shape=[2, 3], input=[1e30, -1e30, 0, 100, 0, -100],
                   target=index([1, 2]), reduction=reduction)
        yield edge(f"negative_weight_{reduction}", shape=[2, 3], input=rows, target=index([0, 1]),
                   weight={"dtype": "float32", "values": [-1, 2, 0.5]}, reduction=reduction)
        yield edge(f"smoothing_one_{reduction}", shape=[2, 3], input=rows, target=index([0, 1]),
                   label_smoothing=1.0, reduction=reduction)
        yield edge(f"probabilities_unnormalized_{reduction}", shape=[2, 2], input=[1, 2, 3, 5],
                   target={"dtype": "float32", "shape": [2, 2], "values": [2, 0.5, -1, 0]},
                   reduction=reduction)
        yield edge(f"scalar_{reduction}", shape=[4], input=[1, 2, 3, 0], target=index([2], []),
                   reduction=reduction)
        yield edge(f"scalar_ignored_{reduction}", shape=[4], input=[1, 2, 3, 0],
                   target=index([-100], []), reduction=reduction)


def main():
    rng = random.Random(20240229)
    shapes = [((5,), None), ((3, 4), None), ((4, 2), 0), ((2, 3, 2), None), ((2, 2, 3), -1),
              ((1, 2, 2, 2), None), ((2, 17), None)]
    number = 0
    for dtype in DTYPES:
        chosen = shapes if dtype in ("float32", "float64") else shapes[1:6:2]
        for (shape, axis), kind, weighted, smoothing, reduction in itertools.product(
                chosen, ("index", "probabilities"), (False, True), (0.0, 0.1, 0.75),
                ("none", "sum", "mean")):
            number += 1
            ignore = rng.choice([None, None, -100, -1, 1]) if kind == "index" else None
            name = f"{number:04d}_{dtype}_{'x'.join(map(str, shape))}_{kind}_{reduction}"
            case = make(rng, name, dtype, shape, axis, kind, weighted, smoothing, reduction, ignore,
                        number % 3 == 0, INTEGERS[number % len(INTEGERS)])
            print(json.dumps(case, separators=(",", ":")))
    for case in edges():
        print(json.dumps(case, separators=(",", ":")))
    print(f"torch {torch.__version__}", file=sys.stderr)


if __name__ == "__main__":
    main()
