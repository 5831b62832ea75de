"""graphdiff, each step building its graph anew."""

import graphdiff as gd
from benchmarks.peers import Step
from benchmarks.problem import Array, Config, Labels, Weights


def make_training(config: Config, weights: Weights) -> tuple[gd.nn.MLP, gd.optim.Adam]:
    """Return the network with the given weights, and its optimiser."""
    model = gd.nn.MLP(list(config.sizes[1:]), activation="relu", in_features=config.sizes[0])
    arrays = [array for layer in weights for array in layer]
    for parameter, array in zip(model.parameters(), arrays, strict=True):
        parameter.assign(array)
    return model, gd.optim.Adam(model.parameters(), lr=1e-3)


def make_step(config: Config, weights: Weights, x: Array, y: Labels) -> Step:
    """Return one training step."""
    model, optimizer = make_training(config, weights)

    def step() -> gd.Tensor:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    return step
