"""Averages of the weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

stream = np.random.default_rng(3)
X = stream.normal(size=(48, 3)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], dtype="float32") + stream.normal(size=(48, 1)).astype("float32")


class Seen(gd.train.Callback):
    """Keep what the weights are after each batch."""

    def __init__(self) -> None:
        self.weights: list[Any] = []

    def on_batch(self, run: gd.train.Run) -> None:
        self.weights.append((run.epoch, run.model.state()["weight"].astype("float64")))


def trained(averaged: gd.train.AveragedWeights, *others: Any, **options: Any) -> Any:
    model = gd.nn.Linear(1, in_features=3, seed=0)
    optimizer = gd.optim.Adam(model.parameters(), lr=0.05)
    options = {"epochs": 4, "batch_size": 16, "progress": False, **options}
    gd.train.fit(model, gd.nn.squared_error, (X, Y), optimizer, callbacks=[averaged, *others], **options)
    return model.weight.numpy().copy()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("start", [0, 2])
def test_averages_are_those_of_the_weights_after_each_batch(start: int, compiled: bool) -> None:
    seen = Seen()
    mean = trained(gd.train.AveragedWeights(None, start=start), seen, compiled=compiled)
    taken = [weight for epoch, weight in seen.weights if epoch >= start]
    assert len(taken) == 3 * (4 - start)
    np.testing.assert_allclose(mean, np.mean(taken, axis=0), rtol=1e-5)
    moving = taken[0]
    for weight in taken[1:]:
        moving = 0.8 * moving + 0.2 * weight
    np.testing.assert_allclose(trained(gd.train.AveragedWeights(0.8, start=start)), moving, rtol=1e-5)


def test_a_run_begun_anew_begins_its_average_anew() -> None:
    averaged = gd.train.AveragedWeights(0.5)
    first = trained(averaged)
    assert np.array_equal(first, trained(averaged))
    assert not np.array_equal(first, trained(gd.train.AveragedWeights(0.0)))


@pytest.mark.parametrize("every", [None, 1])
def test_an_average_goes_on_when_a_run_is_resumed(every: int | None, tmp_path: Path) -> None:
    class Stop(gd.train.Callback):
        left = 8

        def on_batch(self, run: gd.train.Run) -> None:
            self.left -= 1
            if not self.left:
                raise ConnectionError

    options: dict[str, Any] = {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": every}
    with pytest.raises(ConnectionError):
        trained(gd.train.AveragedWeights(0.8, start=1), Stop(), **options)
    resumed = trained(gd.train.AveragedWeights(0.8, start=1), resume=True, **options)
    assert resumed.tobytes() == trained(gd.train.AveragedWeights(0.8, start=1)).tobytes()


def test_bad_averages_are_refused() -> None:
    for bad in ({"decay": 1.0}, {"decay": -0.1}, {"decay": float("nan")}, {"start": -1}):
        with pytest.raises(gd.errors.DataError):
            gd.train.AveragedWeights(**bad)
    with pytest.raises(gd.errors.GraphError, match="ended after 4 epochs, and averaging was to begin after 4"):
        trained(gd.train.AveragedWeights(start=4))
