"""What a process says of its context, where a process that is begun anew can import it from."""

from collections.abc import Callable
from typing import Any

import numpy as np

import graphdiff as gd
from graphdiff.tensor import OBSERVERS, TRACES, WATCHES


def trained(seed: int | None = 1, give_way: Callable[[], None] = lambda: None) -> list[float]:
    """Train a model whose weights and dropout come from streams made without a seed."""
    if seed is not None:
        gd.random.seed(seed)
    give_way()
    layers = [gd.nn.Linear(4, in_features=3), gd.nn.Dropout(0.5)]
    give_way()
    model = gd.nn.Sequential(*layers, gd.nn.Linear(1, in_features=4))
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    x = np.linspace(-1, 1, 24, dtype="float32").reshape(8, 3)
    losses = []
    for _ in range(5):
        loss = gd.mean((model(x) - 1.0) ** 2)
        optimizer.minimize(loss)
        losses.append(loss.item())
        give_way()
    return losses


def report(queue: Any) -> None:
    """Say what a fresh process sees, and work in it."""
    w = gd.variable(3.0)
    step = gd.compile(lambda x: gd.sum(w * x))
    gd.random.seed(1)
    seen = [len(TRACES), len(WATCHES), len(OBSERVERS), gd.variable(1.0).scope, gd.current_backend().name]
    queue.put([*seen, step(np.ones(2)).item(), trained(1)])
