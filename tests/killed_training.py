"""A training run that checkpoints often; its process is killed by the tests, which then resume it."""

import sys
from typing import Any

import numpy as np

import graphdiff as gd

EPOCHS = 12


def trained(path: str | None, **options: Any) -> dict[str, Any]:
    """Return the final weights."""
    stream = np.random.default_rng(3)
    X = stream.normal(size=(400, 6)).astype("float32")
    y = (X[:, 0] * X[1, 1] > X[:, 2]).astype("int64")
    model = gd.nn.MLP([24, 16, 2], in_features=6, seed=2)
    optimizer = gd.optim.Adam(model.parameters(), lr=0.01)
    options = {"checkpoint": path, "checkpoint_every": 2, "resume": True} | options if path else options
    options = {"epochs": EPOCHS, "batch_size": 32, "progress": False, "validation": 0.2, "early_stopping": 5} | options
    gd.train.fit(model, gd.nn.softmax_cross_entropy, (X, y), optimizer, **options)
    return model.state()


if __name__ == "__main__":
    print("ready", flush=True)
    trained(sys.argv[1])
    print("done", flush=True)
