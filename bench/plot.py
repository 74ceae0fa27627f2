#!/usr/bin/env python3
"""Draws docs/speed.svg from bench/results: how many times longer each peer takes than lossd.

    bench/plot.py [--check]

--check draws nothing and fails where docs/speed.svg is not what bench/results gives.
"""

import csv
import html
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "docs" / "speed.svg"
PEERS = {"eager": "PyTorch eager", "compile": "torch.compile", "jax": "JAX"}
SERVICE = "Python service"  # gRPC and PyTorch
MACHINE = "xeon-2"
LEFT, RIGHT, WIDTH, ROW = 190, 830, 860, 22
TICKS = [1, 2, 5, 10, 20, 50, 100, 200]

# Colours for light and for dark pages; the background is part of the picture, so that text can be
# read wherever the picture stands.
STYLE = """
  .page { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #59636e } .grid { stroke: #d1d9e0 }
  .unit { stroke: #1f2328 } .p0 { fill: #0969da } .p1 { fill: #bc4c00 } .p2 { fill: #1a7f37 }
  .p3 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .ink { fill: #f0f6fc } .soft { fill: #9198a1 } .grid { stroke: #3d444d }
    .unit { stroke: #f0f6fc } .p0 { fill: #58a6ff } .p1 { fill: #f0883e } .p2 { fill: #3fb950 }
    .p3 { fill: #bc8cff }
  }
  text { font: 13px sans-serif } .head { font-weight: bold }
"""


def read(name):
    with open(HERE / "results" / name, newline="") as file:
        return list(csv.DictReader(file))


def core_rows():
    """A label and the ratio of each peer, for float32 gradients of class indices."""
    chosen = [
        r
        for r in read("core.csv")
        if (r["dtype"], r["target"], r["operation"]) == ("float32", "index", "gradient")
    ]
    return [
        (f"({r['shape'].replace('x', ', ')})", [float(r[peer]) for peer in PEERS]) for r in chosen
    ]


def service_rows():
    chosen = [
        r
        for r in read("service.csv")
        if r["machine"] == MACHINE and r["figure"] == "times" and "gradient" in r["what"]
    ]
    return [(r["what"].split(" gradient")[0], [float(r["value"])]) for r in chosen]


def x_of(ratio):
    return LEFT + (RIGHT - LEFT) * math.log(ratio / TICKS[0]) / math.log(
        TICKS[-1] * 1.25 / TICKS[0]
    )


def marker(kind, x, y):
    """A shape of its own for each peer, for readers who do not tell the colours apart."""
    if kind == 0:
        return f'<circle class="p0" cx="{x:.1f}" cy="{y}" r="5"/>'
    if kind == 1:
        return f'<rect class="p1" x="{x - 4.5:.1f}" y="{y - 4.5}" width="9" height="9"/>'
    if kind == 2:
        return f'<path class="p2" d="M{x:.1f} {y - 6} l6 11 h-12 z"/>'
    return f'<path class="p3" d="M{x:.1f} {y - 6} l6 6 l-6 6 l-6 -6 z"/>'


def text(x, y, words, classes="ink", anchor="start"):
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}"'
    return f'<text class="{classes}" {place}>{html.escape(words)}</text>'


def draw():
    body, y = [], 30
    body.append(
        text(
            20,
            y,
            "Time over lossd's, loss with gradient, float32 "
            "(logarithmic; right of 1: lossd is faster)",
            "ink head",
        )
    )
    y += 28
    x = 20
    for kind, name in enumerate([*PEERS.values(), SERVICE]):
        body += [marker(kind, x + 6, y - 5), text(x + 20, y, name)]
        x += 150
    top = y + 14
    groups = [("Library (Zen 3)", core_rows(), 0), ("Service (Xeon, TCP)", service_rows(), 3)]
    y = top
    for title, rows, first in groups:
        y += 24
        body.append(text(20, y, title, "ink head"))
        for label, ratios in rows:
            y += ROW
            body.append(text(LEFT - 14, y, label, "ink", "end"))
            body += [marker(first + i, x_of(ratio), y - 5) for i, ratio in enumerate(ratios)]
        y += 8
    grid = []
    for tick in TICKS:
        x = x_of(tick)
        grid += [
            f'<path class="{"unit" if tick == 1 else "grid"}" d="M{x:.1f} {top + 8} V{y + 4}"/>',
            text(x, y + 22, str(tick), "soft", "middle"),
        ]
    height = y + 36
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                "<title>How many times longer PyTorch, torch.compile, JAX and a Python service "
                "take than lossd</title>",
                f"<style>{STYLE}</style>",
                f'<rect class="page" width="{WIDTH}" height="{height}"/>',
                *grid,
                *body,
                "</svg>",
            ]
        )
        + "\n"
    )


def main():
    if sys.argv[1:] == ["--check"]:
        if OUT.read_text() != draw():
            sys.exit("docs/speed.svg is not what bench/results gives: run bench/plot.py")
        return
    if sys.argv[1:]:
        sys.exit("usage: bench/plot.py [--check]")
    OUT.write_text(draw())


if __name__ == "__main__":
    main()
