"""Training steps of random networks, compiled and eager: layers shared, summed, joined, cut up and normalised."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

ROWS, FEATURES = 10, 5
Values = list[Any]
OPS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda x, y: gd.relu(x),
    "tanh": lambda x, y: gd.tanh(x),
    "gelu": lambda x, y: gd.gelu(x),
    "softmax": lambda x, y: gd.softmax(x, axis=1),
    "centred": lambda x, y: x - gd.mean(x, axis=0),
    "below the greatest": lambda x, y: x - gd.max(x, axis=1, keepdims=True),
    "first columns": lambda x, y: x[:, : (x.shape[1] + 1) // 2],
    "last columns": lambda x, y: x[:, -((x.shape[1] + 1) // 2) :],
    "every other column": lambda x, y: x[:, ::2],
    "turned round": lambda x, y: gd.flip(x, 1),
    "side by side": lambda x, y: gd.concatenate([x, y], axis=1),
    "twice": lambda x, y: gd.reshape(gd.stack([x, 2 * x], axis=1), (ROWS, -1)),
    "products of rows": lambda x, y: 0.1 * x @ x.T,
    "sum": lambda x, y: x + y if x.shape == y.shape else x,
    "difference": lambda x, y: x - 0.5 * y if x.shape == y.shape else x,
    "product": lambda x, y: x * y if x.shape == y.shape else x,
    "choice": lambda x, y: gd.where(x > 0, x, y) if x.shape == y.shape else x,
}


class RandomNetwork(gd.nn.Module):
    """Values made one after the other, each of earlier ones by an op or by layers, which may be used again.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        r = np.random.default_rng(seed)
        self.stream = r
        self.layers: list[Any] = []
        self.steps: list[Callable[[Values], Any]] = []
        values = [gd.constant(r.normal(size=(ROWS, FEATURES)))]
        for _ in range(r.integers(2, 9)):
            self.steps.append(self.step(values))
            values.append(self.steps[-1](values))
        last = self.linear(values[-1].shape[1], 3)
        self.steps.append(lambda values: last(values[-1]))

    def linear(self, inputs: int, outputs: int) -> Any:
        layer = gd.nn.Linear(outputs, in_features=inputs, dtype="float64", seed=self.stream)
        layer.bias.assign(self.stream.normal(size=outputs))
        self.layers.append(layer)
        return layer

    def step(self, values: Values) -> Callable[[Values], Any]:
        """Return how the next value is made."""
        r = self.stream
        one, other = (int(place) for place in r.integers(0, len(values), 2))
        kind = r.choice(["layer", "layer again", "sum of layers", "norm", "op", "op", "op"])
        width = values[one].shape[1]
        if kind == "op":
            op = OPS[str(r.choice(list(OPS)))]
            return lambda values: op(values[one], values[other])
        if kind == "sum of layers":
            outputs = int(r.choice([3, 8]))
            first, second = self.linear(width, outputs), self.linear(values[other].shape[1], outputs)
            return lambda values: first(values[one]) + second(values[other])
        if kind == "norm":
            layer: Any = gd.nn.LayerNorm(width, dtype="float64")
            self.layers.append(layer)
            return lambda values: layer(values[one])
        known = [layer for layer in self.layers if getattr(layer, "in_features", None) == width]
        again = known[r.integers(len(known))] if known and kind == "layer again" else self.linear(width, 8)
        return lambda values: again(values[one])

    def forward(self, x: Any) -> Any:
        values = [x]
        for step in self.steps:
            values.append(step(values))
        return values[-1]


def trained(seed: int, compiled: bool) -> tuple[list[float], list[Any]]:
    """Return the losses and the weights of three steps."""
    model = RandomNetwork(seed)
    r = np.random.default_rng(seed)
    x, y = r.normal(size=(ROWS, FEATURES)), r.integers(0, 3, ROWS)
    # Gradient descent moves by gradients as they are: others would divide rounding by rounding where they are 0.
    optimizer = gd.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        loss = gd.nn.softmax_cross_entropy(model(x), y)
        optimizer.minimize(loss)
        return loss

    run = gd.compile(step) if compiled else step
    return [run(x, y).item() for _ in range(3)], [parameter.numpy() for parameter in model.parameters()]


@pytest.mark.parametrize(("first", "end"), list(pairwise(range(0, 241, 40))))
def test_compiled_training_is_eager_training(first: int, end: int) -> None:
    for seed in range(first, end):
        (losses, weights), (expected, expected_weights) = trained(seed, compiled=True), trained(seed, compiled=False)
        np.testing.assert_allclose(losses, expected, rtol=1e-9, err_msg=f"network {seed}")
        for mine, theirs in zip(weights, expected_weights, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10, err_msg=f"network {seed}")


@pytest.mark.parametrize("rows", [10, 400])  # ones that are kept from step to step, and ones that are written anew
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("part", [slice(0, 2), slice(1, 3), slice(2, None), slice(None, None, 2)], ids=str)
def test_a_layer_takes_a_part_of_anothers_input(part: slice, hidden: bool, rows: int) -> None:
    """The whole has a row of ones behind it, which a part of it need not have."""
    r = np.random.default_rng(0)
    x, y = r.normal(size=(rows, FEATURES)), r.normal(size=(rows, 4))
    results = []
    for compiled in (False, True):

        def linear(inputs: int, outputs: int, seed: int) -> Any:
            layer = gd.nn.Linear(outputs, in_features=inputs, seed=seed, dtype="float64")
            layer.bias.assign(np.random.default_rng(seed).normal(size=outputs))
            return layer

        width = 30 if hidden else FEATURES
        before, whole = linear(FEATURES, width, 1), linear(width, 4, 2)
        some = linear(len(range(width)[part]), 4, 3)
        parameters = [*(before.parameters() if hidden else []), *whole.parameters(), *some.parameters()]
        optimizer = gd.optim.SGD(parameters, lr=0.1)

        def step(x: Any, y: Any, before: Any = before, whole: Any = whole, some: Any = some) -> Any:
            given = gd.relu(before(x)) if hidden else x
            loss = gd.mean((whole(given) + some(given[:, part]) ** 2 - y) ** 2)
            optimizer.minimize(loss)  # noqa: B023 - run within the turn of the loop
            return loss

        run = gd.compile(step) if compiled else step
        losses = [run(x, y).item() for _ in range(3)]
        results.append((losses, [parameter.numpy() for parameter in optimizer.parameters]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-11)
    for mine, theirs in zip(results[1][1], results[0][1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
