"""graphdiff, the whole step compiled into a plan, which runs as C from the first call."""

from functools import partial

import graphdiff as gd
from benchmarks.peers import Step
from benchmarks.peers.graphdiff_eager import make_training
from benchmarks.problem import Array, Config, Labels, Weights


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    return planned(config, weights, x, y, "c")


def planned(config: Config, weights: Weights, x: Array, y: Labels, engine: str) -> Step:
    """Return one training step, run by an engine."""
    model, optimizer = make_training(config, weights)

    @gd.compile(engine=engine)
    def step(x: Array, y: Labels) -> gd.Tensor:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    return partial(step, x, y)
