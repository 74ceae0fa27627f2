"""Checks the worked examples, then trains a classifier of handwritten digits whose every loss and
gradient comes from a lossd server.

    python client/examples/train_digits.py --server 127.0.0.1:50051

The model (64 pixels, one hidden layer, 10 classes) lives here, in numpy; the loss lives on the
server: logits go up, the loss and its gradient come down, and the chain rule goes on from there.
Ends with exit status 1 where a worked example is off or the held-out accuracy stays below 95 %.
"""

import argparse
import csv
import gzip
import json
import pathlib
import sys
import time

import numpy as np

import lossd

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "tests" / "conformance" / "worked_examples.json"
DIGITS = HERE / "data" / "digits.csv.gz"
REQUIRED_ACCURACY = 0.95


def check_worked_examples(client):
    """Prints each published loss beside the server's; True where all agree to four decimals."""
    print("Worked examples of torch.nn.CrossEntropyLoss: published | from the server")
    good = True
    for case in json.loads(EXAMPLES.read_text())["cases"]:
        weight = np.float32(case["weight"]) if "weight" in case else None
        loss = client.cross_entropy(np.float32(case["input"]), case["target"], weight=weight,
                                    reduction=case["reduction"],
                                    ignore_index=case.get("ignore_index", -100)).loss
        agrees = np.allclose(loss, case["loss"], atol=1e-4, rtol=0)
        good = good and agrees
        published = " ".join(f"{v:.4f}" for v in np.ravel(case["loss"]))
        ours = " ".join(f"{v:.4f}" for v in np.ravel(loss))
        print(f"  {'ok ' if agrees else 'OFF'} {case['name']:<20} {published} | {ours}")
    return good


def load_digits(rng):
    """Shuffled (train images, train classes), (test images, test classes); pixels in [0, 1]."""
    with gzip.open(DIGITS, "rt") as file:
        rows = np.array([[float(v) for v in row] for row in csv.reader(file)])
    rows = rows[rng.permutation(len(rows))]
    images, classes = (rows[:, :64] / 16).astype(np.float32), rows[:, 64].astype(np.int64)
    held_out = len(rows) // 5
    return (images[held_out:], classes[held_out:]), (images[:held_out], classes[:held_out])


class Classifier:
    """Two dense layers with a ReLU between, trained by gradient descent with momentum."""

    def __init__(self, rng, hidden=64):
        self.parameters = [
            rng.normal(0, np.sqrt(2 / 64), (64, hidden)).astype(np.float32),
            np.zeros(hidden, np.float32),
            rng.normal(0, np.sqrt(2 / hidden), (hidden, 10)).astype(np.float32),
            np.zeros(10, np.float32),
        ]
        self.velocities = [np.zeros_like(p) for p in self.parameters]

    def logits(self, images):
        w1, b1, w2, b2 = self.parameters
        self.images = images
        self.active = np.maximum(images @ w1 + b1, 0)
        return self.active @ w2 + b2

    def step(self, grad_logits, rate=0.1, momentum=0.9):
        w2 = self.parameters[2]
        grad_hidden = (grad_logits @ w2.T) * (self.active > 0)
        gradients = [self.images.T @ grad_hidden, grad_hidden.sum(0),
                     self.active.T @ grad_logits, grad_logits.sum(0)]
        for p, v, g in zip(self.parameters, self.velocities, gradients, strict=True):
            v *= momentum
            v -= rate * g
            p += v


def draw_curve(losses, height=10, width=72):
    """The loss over the steps, on a logarithmic scale."""
    bins = np.array_split(np.log10(losses), min(width, len(losses)))
    means = np.array([b.mean() for b in bins])
    low, high = means.min(), means.max()
    rows = np.round((means - low) / max(high - low, 1e-9) * (height - 1)).astype(int)
    for level in range(height - 1, -1, -1):
        label = 10 ** (low + (high - low) * level / (height - 1))
        print(f"{label:8.4f} |" + "".join("*" if r == level else " " for r in rows))
    print(" " * 9 + "+" + "-" * len(means) + f"  {len(losses)} steps")


def draw_digits(images, classes, predictions):
    """A few images side by side with their class and the prediction."""
    shades = " .:-=+*#%@"
    for row in range(8):
        print("   ".join("".join(2 * shades[min(9, int(p * 9.99))]
                                 for p in image[8 * row:8 * row + 8])
                         for image in images))
    print("   ".join(f"a {c}, read as {p}".ljust(16)
                     for c, p in zip(classes, predictions, strict=True)))


def train(client, rng, epochs=20, batch=64):
    """Returns the held-out accuracy."""
    (images, classes), (test_images, test_classes) = load_digits(rng)
    model = Classifier(rng)
    losses = []
    started = time.monotonic()
    for epoch in range(epochs):
        order = rng.permutation(len(images))
        for begin in range(0, len(order), batch):
            chosen = order[begin:begin + batch]
            result = client.cross_entropy(model.logits(images[chosen]), classes[chosen], grad=True,
                                          label_smoothing=0.02)
            model.step(result.grad)
            losses.append(float(result.loss))
        if epoch % 4 == 3:
            test = client.cross_entropy(model.logits(test_images), test_classes)
            print(f"  epoch {epoch + 1:2d}: training loss {np.mean(losses[-20:]):.4f}, held-out "
                  f"loss {float(test.loss):.4f}, {test.correct} of {test.positions} right")
    seconds = time.monotonic() - started
    print(f"\n{len(losses)} losses and gradients over gRPC in {seconds:.1f} s\n")
    draw_curve(losses)
    test_logits = model.logits(test_images)
    predictions = test_logits.argmax(1)
    print()
    draw_digits(test_images[:5], test_classes[:5], predictions[:5])
    return client.cross_entropy(test_logits, test_classes).correct / len(test_classes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", default="127.0.0.1:50051")
    arguments = parser.parse_args()
    with lossd.Client(arguments.server, timeout=30) as client:
        if not check_worked_examples(client):
            sys.exit("a worked example is off")
        print(f"\nTraining on {DIGITS.name}: handwritten digits, every loss and gradient from "
              f"{arguments.server}")
        accuracy = train(client, np.random.default_rng(0))
    print(f"\nheld-out accuracy {accuracy:.1%} (required: {REQUIRED_ACCURACY:.0%})")
    if accuracy < REQUIRED_ACCURACY:
        sys.exit(1)


if __name__ == "__main__":
    main()
