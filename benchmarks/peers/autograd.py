"""HIPS autograd, with plain Adam."""

import autograd.numpy as np
from autograd import value_and_grad

from benchmarks.peers import Step
from benchmarks.peers.plain_adam import PlainAdam
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    layers = [(w.copy(), b.copy()) for w, b in weights]
    adam = PlainAdam([array for layer in layers for array in layer])
    rows = np.arange(config.batch)

    def loss(layers: Weights) -> np.floating:
        value = x
        for w, b in layers[:-1]:
            value = np.maximum(np.dot(value, w) + b, 0)
        w, b = layers[-1]
        logits = np.dot(value, w) + b
        shifted = logits - np.max(logits, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - shifted[rows, y])

    loss_and_gradients = value_and_grad(loss)

    def step() -> np.floating:
        value, gradients = loss_and_gradients(layers)
        adam.update([gradient for layer in gradients for gradient in layer])
        return value

    return step
