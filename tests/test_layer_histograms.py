"""Histograms of activations and gradients: the values are the model's, and looking changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import DataError

X = np.random.default_rng(0).normal(size=(40, 4))
Y = np.sin(X[:, :1])


def fitted(model: Any, watch: Any, epochs: int = 4) -> Any:
    optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    callbacks = [] if watch is None else [watch]
    return gd.train.fit(model, gd.nn.squared_error, (X, Y), optimizer, epochs=epochs, callbacks=callbacks)


def network(seed: int = 0) -> Any:
    gd.random.seed(seed)
    linear = {"dtype": "float64"}
    return gd.nn.Sequential(
        gd.nn.Linear(5, in_features=4, **linear),
        gd.nn.Activation("relu"),
        gd.nn.Dropout(0.3),
        gd.nn.Linear(1, in_features=5, **linear),
    )


def test_values_are_those_of_activations_and_gradients() -> None:
    model = network()
    weight, bias, last, last_bias = (leaf.numpy().copy() for leaf in model.parameters())
    watch = gd.train.LayerHistograms((X, Y), gd.nn.squared_error)
    fitted(model, watch, epochs=1)
    before = X @ weight + bias
    hidden = np.maximum(before, 0)
    output = hidden @ last + last_bias
    slope = 2 * (output - Y) / Y.size  # dropout lets everything pass in evaluation
    truth = {
        "layers.0 Linear": (before, slope @ last.T * (before > 0)),
        "layers.3 Linear": (output, slope),
    }
    layers = {layer.title: layer for layer in watch.layers}
    for title, (activation, gradient) in truth.items():
        np.testing.assert_allclose(layers[title].activations[0], activation.ravel(), rtol=1e-12)
        np.testing.assert_allclose(layers[title].gradients[0], gradient.ravel(), rtol=1e-12, atol=1e-18)
    after = X @ model.parameters()[0].numpy() + model.parameters()[1].numpy()
    np.testing.assert_allclose(layers["layers.0 Linear"].activations[1], after.ravel(), rtol=1e-12)


def test_looking_changes_nothing() -> None:
    watched, alone = network(), network()
    assert fitted(watched, gd.train.LayerHistograms((X, Y), gd.nn.squared_error)) == fitted(alone, None)
    for path, array in watched.state().items():
        np.testing.assert_array_equal(array, alone.state()[path])


def test_every_second_epoch_and_few_values_of_many() -> None:
    watch = gd.train.LayerHistograms((np.tile(X, (300, 1)), np.tile(Y, (300, 1))), gd.nn.squared_error, every=2)
    fitted(network(), watch, epochs=5)
    assert watch.epochs == [0, 2, 4]
    assert all(1000 < array.size <= 4096 for layer in watch.layers for array in layer.activations)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture(ending: str, tmp_path: Path) -> None:
    watch = gd.train.LayerHistograms((X, Y), gd.nn.squared_error)
    with pytest.raises(DataError, match="once an epoch has ended"):
        watch.plot(tmp_path / "layers.png")
    fitted(network(), watch)
    drawn = watch.plot(tmp_path / f"layers.{ending}").read_bytes()
    assert drawn.startswith(b"\x89PNG") if ending == "png" else b"<svg" in drawn
    with pytest.raises(DataError, match="drawn as"):
        watch.plot(tmp_path / "layers.doc")


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.filterwarnings("ignore:the loss became nan")
def test_dead_and_exploded_layers_are_drawn_too(tmp_path: Path) -> None:
    model = network()
    model.layers[0].bias.assign([-1e3] * 5)
    watch = gd.train.LayerHistograms((X, Y), gd.nn.squared_error)
    fitted(model, watch)
    assert watch.plot(tmp_path / "dead.png").exists()
    model = network()
    model.layers[3].weight.assign(np.full((5, 1), np.nan))
    watch = gd.train.LayerHistograms((X, Y), gd.nn.squared_error)
    fitted(model, watch)
    assert watch.plot(tmp_path / "nan.png").exists()


def test_vanishing_gradients_are_seen() -> None:
    model = gd.nn.MLP([10] * 12 + [1], "sigmoid", in_features=4, dtype="float64")
    watch = gd.train.LayerHistograms((X, Y), gd.nn.squared_error)
    fitted(model, watch, epochs=1)
    first, last = (np.median(np.abs(watch.layers[place].gradients[0])) for place in (0, -1))
    assert first < 1e-3 * last


def test_at_least_one_epoch_between_looks() -> None:
    with pytest.raises(DataError, match="not 0"):
        gd.train.LayerHistograms((X, Y), gd.nn.squared_error, every=0)
