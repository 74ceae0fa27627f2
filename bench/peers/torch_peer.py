"""PyTorch's own cross-entropy, eager or compiled: ``torch_peer.py eager|compile THREADS``."""

import sys

import torch
import torch.nn.functional as F

import worker


class Problem:
    def __init__(self, compiled, dtype, shape):
        dtype = getattr(torch, dtype)
        torch.manual_seed(1)
        first = (torch.randn(shape) * 2).to(dtype)
        self.count = worker.copies(first.nbytes)
        self.inputs = [first.clone() for _ in range(self.count)]
        self.needs_grad = [x.detach().requires_grad_() for x in self.inputs]
        self.target = torch.randint(0, shape[1], [shape[0], *shape[2:]])
        torch.compiler.reset()
        self.function = torch.compile(F.cross_entropy) if compiled else F.cross_entropy

    def loss(self, i):
        with torch.no_grad():
            self.function(self.inputs[i], self.target).item()

    def gradient(self, i):
        x = self.needs_grad[i]
        torch.autograd.grad(self.function(x, self.target), x)


if __name__ == "__main__":
    mode, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    worker.serve(lambda dtype, shape: Problem(mode == "compile", dtype, shape))
