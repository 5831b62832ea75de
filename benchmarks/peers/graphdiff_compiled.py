"""graphdiff, the whole step compiled into a plan."""

from functools import partial

import graphdiff as gd
from benchmarks.peers import Step
from benchmarks.peers.graphdiff_eager import make_training
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    model, optimizer = make_training(config, weights)

    @gd.compile
    def step(x: Array, y: Labels) -> gd.Tensor:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    return partial(step, x, y)
