"""Graphs that the tests of the interactive page draw."""

from typing import Any

import numpy as np

import graphdiff as gd


def lecture() -> Any:
    """e = (a + b)(b + 1) at a = 2, b = 1: c = 3, d = 2, e = 6, ∂e/∂a = 2, ∂e/∂b = 5."""
    a, b = gd.variable(2.0, name="a"), gd.variable(1.0, name="b")
    return ((a + b).named("c") * (b + 1).named("d")).named("e")


def network() -> Any:
    model = gd.nn.MLP([8, 3], activation="relu")
    x = gd.variable(np.random.default_rng(0).normal(size=(5, 4)), name="x")
    return gd.nn.softmax_cross_entropy(model(x), np.array([0, 1, 2, 1, 0])).named("loss")


def deep(length: int) -> Any:
    """A long computation in which each node uses two of the last few."""
    stream = np.random.default_rng(1)
    nodes: list[Any] = [gd.variable(0.5 + 0.1 * i, name=f"x{i}") for i in range(4)]
    for index in range(length):
        one, two = (nodes[-int(back)] for back in stream.integers(1, 5, size=2))
        nodes.append([gd.sin(nodes[-1]), nodes[-1] + two, one * nodes[-1]][index % 3])
    return nodes[-1]
