"""MyGrad, without its guard against changed arrays, as its documentation advises for speed, and plain Adam."""

import mygrad as mg
from mygrad.nnet.activations import relu
from mygrad.nnet.losses import softmax_crossentropy

from benchmarks.peers import Step
from benchmarks.peers.plain_adam import PlainAdam
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    mg.turn_memory_guarding_off()
    layers = [(mg.tensor(w), mg.tensor(b)) for w, b in weights]
    parameters = [tensor for layer in layers for tensor in layer]
    adam = PlainAdam([tensor.data for tensor in parameters])

    def step() -> mg.Tensor:
        value = x
        for w, b in layers[:-1]:
            value = relu(mg.matmul(value, w) + b)
        w, b = layers[-1]
        loss = softmax_crossentropy(mg.matmul(value, w) + b, y)
        loss.backward()
        adam.update([tensor.grad for tensor in parameters])
        return loss.data

    return step
