"""optax's cross-entropy under jax.jit. XLA uses the CPUs that the process may run on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import worker


class Problem:
    def __init__(self, dtype, shape, target):
        random = np.random.default_rng(1)
        host = (random.standard_normal(shape, dtype=np.float32) * 2).astype(jnp.dtype(dtype))
        self.count = worker.copies(host.nbytes)
        self.inputs = [jnp.array(host, copy=True) for _ in range(self.count)]
        if target == "probabilities":
            share = random.random(shape, dtype=np.float32) * (2 / shape[1])
            share = share.astype(jnp.dtype(dtype))
            self.targets = [jnp.array(share, copy=True) for _ in range(self.count)]
        else:
            labels = random.integers(0, shape[1], [shape[0], *shape[2:]])
            self.targets = [jnp.array(labels)] * self.count

        def mean(x, y):
            if target == "index":
                return optax.softmax_cross_entropy_with_integer_labels(x, y, axis=1).mean()
            if target == "smoothing":
                y = 0.9 * jax.nn.one_hot(y, shape[1], dtype=x.dtype, axis=1) + 0.1 / shape[1]
            return optax.softmax_cross_entropy(x, y, axis=1).mean()

        self._loss = jax.jit(mean)
        self._gradient = jax.jit(jax.value_and_grad(mean))

    def loss(self, i):
        self._loss(self.inputs[i], self.targets[i]).block_until_ready()

    def gradient(self, i):
        jax.block_until_ready(self._gradient(self.inputs[i], self.targets[i]))


if __name__ == "__main__":
    worker.serve(Problem)
