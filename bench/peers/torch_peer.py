"""PyTorch's own cross-entropy, eager or compiled: ``torch_peer.py eager|compile THREADS``."""

import sys

import torch
import torch.nn.functional as F
import worker


class Problem:
    def __init__(self, compiled, dtype, shape, target):
        dtype = getattr(torch, dtype)
        torch.manual_seed(1)
        first = (torch.randn(shape) * 2).to(dtype)
        self.count = worker.copies(first.nbytes)
        self.inputs = [first.clone() for _ in range(self.count)]
        self.needs_grad = [x.detach().requires_grad_() for x in self.inputs]
        if target == "probabilities":
            share = (torch.rand(shape) * (2 / shape[1])).to(dtype)
            self.targets = [share.clone() for _ in range(self.count)]
        else:
            self.targets = [torch.randint(0, shape[1], [shape[0], *shape[2:]])] * self.count
        smoothing = 0.1 if target == "smoothing" else 0.0

        def cross_entropy(x, y):
            return F.cross_entropy(x, y, label_smoothing=smoothing)

        torch.compiler.reset()
        self.function = torch.compile(cross_entropy) if compiled else cross_entropy

    def loss(self, i):
        with torch.no_grad():
            self.function(self.inputs[i], self.targets[i]).item()

    def gradient(self, i):
        x = self.needs_grad[i]
        torch.autograd.grad(self.function(x, self.targets[i]), x)


if __name__ == "__main__":
    mode, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    worker.serve(lambda dtype, shape, target: Problem(mode == "compile", dtype, shape, target))
