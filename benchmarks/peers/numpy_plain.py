"""Plain NumPy: the derivatives by hand, each written as its formula reads."""

import numpy as np

from benchmarks.peers import Step
from benchmarks.peers.plain_adam import PlainAdam
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step; it computes in the precision of `weights` and `x`."""
    layers = [(w.copy(), b.copy()) for w, b in weights]
    adam = PlainAdam([array for layer in layers for array in layer])
    rows = np.arange(config.batch)

    def step() -> np.floating:
        values = [x]
        for w, b in layers[:-1]:
            values.append(np.maximum(values[-1] @ w + b, 0))
        logits = values[-1] @ layers[-1][0] + layers[-1][1]

        shifted = logits - logits.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss: np.floating = np.mean(np.log(sums[:, 0]) - shifted[rows, y])

        adjoint = exponentials / sums
        adjoint[rows, y] -= 1
        adjoint /= config.batch
        gradients = []
        for value, (w, _) in zip(values[:0:-1], layers[:0:-1], strict=True):
            gradients += [adjoint.sum(axis=0), value.T @ adjoint]
            adjoint = (adjoint @ w.T) * (value > 0)
        gradients += [adjoint.sum(axis=0), x.T @ adjoint]

        adam.update(gradients[::-1])
        return loss

    return step
