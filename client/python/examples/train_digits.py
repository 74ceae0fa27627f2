"""Trains one small convolutional network twice from the same seed: with lossd.torch, whose losses
and gradients come from a server, and with torch's own loss.

    LOSSD_ADDRESS=127.0.0.1:50051 python client/python/examples/train_digits.py

Prints both losses at every step. Ends with exit status 1 where they differ by more than 1e-6, or
where the accuracy on digits that were held out stays below 95 %.

The default is float64: both losses are then right to some 1e-15, so that 1e-6 leaves room for
differences that grow in training. --dtype float32 shows those of float32.
"""

import argparse
import csv
import gzip
import pathlib
import sys

import torch

import lossd.torch

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data" / "digits.csv.gz"
MOST_DIFFERENCE = 1e-6
REQUIRED_ACCURACY = 0.95
BATCH = 64


def load_digits(dtype):
    """Shuffled (training images, classes), (held-out images, classes); images are (N, 1, 8, 8)."""
    with gzip.open(DIGITS, "rt") as file:
        rows = torch.tensor([[float(value) for value in row] for row in csv.reader(file)],
                            dtype=dtype)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    images, classes = rows[:, :64].reshape(-1, 1, 8, 8) / 16, rows[:, 64].long()
    held_out = len(rows) // 5
    return (images[held_out:], classes[held_out:]), (images[:held_out], classes[:held_out])


class Training:
    """A network, its optimizer and its loss; networks of one seed begin alike."""

    def __init__(self, loss, dtype):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
            torch.nn.Linear(32 * 16, 10)).to(dtype)
        self.loss = loss
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)

    def step(self, images, classes):
        """One step of gradient descent; returns the loss before it."""
        self.optimizer.zero_grad()
        loss = self.loss(self.model(images), classes)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def accuracy(self, images, classes):
        """The share of images whose class has the greatest logit."""
        return (self.model(images).argmax(1) == classes).double().mean().item()


def train(epochs, dtype):
    """Returns the greatest difference of two losses of a step, and the held-out accuracies."""
    (images, classes), held_out = load_digits(dtype)
    options = {"label_smoothing": 0.02}
    remote = Training(lossd.torch.CrossEntropyLoss(**options), dtype)
    local = Training(torch.nn.CrossEntropyLoss(**options), dtype)
    generator = torch.Generator().manual_seed(0)
    most, step = 0.0, 0
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            losses = [one.step(images[chosen], classes[chosen]) for one in (remote, local)]
            most = max(most, abs(losses[0] - losses[1]))
            print(f"step {step:3d}: lossd {losses[0]:.7f}, torch {losses[1]:.7f}")
            step += 1
    return most, [one.accuracy(*held_out) for one in (remote, local)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    arguments = parser.parse_args()
    most, accuracies = train(arguments.epochs, getattr(torch, arguments.dtype))
    print(f"greatest difference of two losses: {most:.2g} (allowed: {MOST_DIFFERENCE:.0g})")
    print(f"held-out accuracy: lossd {accuracies[0]:.1%}, torch {accuracies[1]:.1%} "
          f"(required: {REQUIRED_ACCURACY:.0%})")
    if most > MOST_DIFFERENCE or min(accuracies) < REQUIRED_ACCURACY:
        sys.exit(1)


if __name__ == "__main__":
    main()
