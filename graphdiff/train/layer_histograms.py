"""How the activations and gradients of every layer are distributed, from epoch to epoch."""

from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphdiff.errors import DataError
from graphdiff.files.atomic import write_atomically
from graphdiff.files.plotting import figure_for, rendered
from graphdiff.guard import guarded
from graphdiff.host import HostArray
from graphdiff.nn.report import differentiated
from graphdiff.tensor import Tensor
from graphdiff.train.callbacks import Callback, Run
from graphdiff.train.history import Record
from graphdiff.train.minibatches import Inputs
from graphdiff.typing import ArrayLike, Function

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LayerHistograms"]

_KEPT = 4096
"""How many values of a layer are kept of each epoch."""
_BINS = 48


@dataclasses.dataclass
class _Layer:
    """What was seen of a layer: one array per look."""

    title: str
    activations: list[HostArray] = dataclasses.field(default_factory=list)
    gradients: list[HostArray] = dataclasses.field(default_factory=list)


class LayerHistograms(Callback):
    """Look at each layer's activations, and at the loss's gradients by them, before training and after each epoch.

    The model is looked at in evaluation, and stays as it is.

    Parameters
    ----------
    batch : (X, y)
        What the layers are looked at with; some hundred rows are enough.
    loss : callable
        Of the model's output and y.
    every : int
        Epochs between two looks.

    Attributes
    ----------
    epochs : list of int
        When was looked; 0 is before the first epoch.
    layers : list
        Of each layer its `title`, and its `activations` and `gradients`: one flat array for every look, of some
        thousand values at most.

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> X = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> y = (X[:, 0] > 0).astype("int64")
    >>> model = gd.nn.MLP([8, 2], in_features=2)
    >>> watch = gd.train.LayerHistograms((X, y), gd.nn.softmax_cross_entropy)
    >>> adam = gd.optim.Adam(model.parameters())
    >>> history = gd.train.fit(model, gd.nn.softmax_cross_entropy, (X, y), adam, epochs=3, callbacks=[watch])
    >>> watch.epochs, [layer.title for layer in watch.layers]
    ([0, 1, 2, 3], ['layers.0 Linear', 'layers.1 Activation relu', 'layers.2 Linear'])
    """

    @guarded
    def __init__(self, batch: tuple[Inputs, ArrayLike], loss: Function[Tensor], every: int = 1) -> None:
        if every < 1:
            raise DataError(f"there is at least one epoch between two looks, not {every}")
        self._batch, self._loss, self._every = batch, loss, every
        self.epochs: list[int] = []
        self.layers: list[_Layer] = []

    def on_start(self, run: Run) -> None:
        self._look(run)

    def on_epoch(self, run: Run, record: Record) -> None:
        if run.epoch % self._every == 0:
            self._look(run)

    def _look(self, run: Run) -> None:
        _, adjoint, layers = differentiated(copy.deepcopy(run.model).eval(), *self._batch, self._loss)
        called = [(title, made, adjoint[made]) for title, _, made in layers if made is not None and made in adjoint]
        if not self.layers:
            self.layers = [_Layer(title) for title, _, _ in called]
        for layer, (_, made, gradient) in zip(self.layers, called, strict=True):
            layer.activations.append(_sampled(made.numpy()))
            layer.gradients.append(_sampled(gradient.numpy()))
        self.epochs.append(run.epoch)

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draw a column for each layer: above its activations, below the size of its gradients, against the epoch.

        Each column of a panel is a histogram: the darker, the more values. Gradients are drawn to one logarithmic
        scale for all layers, so that vanishing and exploding ones are seen; zeros have no place on it and are left out.

        Parameters
        ----------
        path : path
            Its ending is the format: .png, .svg or .pdf.
        """
        if len(self.epochs) < 2:
            raise DataError("histograms over training are drawn once an epoch has ended")
        figure = figure_for(path, 1.2 + 2.4 * len(self.layers), 5.2)
        panels = figure.subplots(2, len(self.layers), squeeze=False, sharex=True)
        sizes = [[_sizes(array) for array in layer.gradients] for layer in self.layers]
        ends = _ends([array for arrays in sizes for array in arrays], 0.01)
        for column, layer in enumerate(self.layers):
            above, below = panels[:, column]
            self._panel(above, layer.activations, _ends(layer.activations, 0.002), "Blues")
            self._panel(below, sizes[column], ends, "Oranges")
            above.set_title(layer.title.replace(" ", "\n", 1), fontsize="medium")
            below.set_xlabel("epoch")
            below.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:g}}}$")
            below.yaxis.get_major_locator().set_params(integer=True)
            below.xaxis.get_major_locator().set_params(integer=True)
            if column:
                below.set_yticklabels([])
        panels[0, 0].set_ylabel("activation")
        panels[1, 0].set_ylabel("|gradient| by activation")
        return write_atomically(path, rendered(figure, path))

    def _panel(self, axes: Axes, arrays: list[HostArray], ends: tuple[float, float], colors: str) -> None:
        edges = np.linspace(*ends, _BINS + 1)
        counts = np.stack([np.histogram(array, edges)[0] / max(array.size, 1) for array in arrays], axis=1)
        middles = (np.array(self.epochs[1:]) + np.array(self.epochs[:-1])) / 2
        first, last = 2 * self.epochs[0] - middles[0], 2 * self.epochs[-1] - middles[-1]
        # A bin that most values fall into, such as that of relu's zeros, would leave all others white.
        full = np.quantile(counts[counts > 0], 0.97) if counts.any() else 1.0
        axes.pcolormesh([first, *middles, last], edges, counts, cmap=colors, vmin=0, vmax=full, rasterized=True)


def _sampled(array: HostArray) -> HostArray:
    """Return the finite values, or equally spaced ones of them if they are many."""
    flat = array.ravel()
    flat = flat[np.isfinite(flat)]
    return flat[:: -(-flat.size // _KEPT) or 1].copy()


def _sizes(array: HostArray) -> HostArray:
    """Return the logarithm to base 10 of the absolute values that are not 0."""
    sizes: HostArray = np.log10(np.abs(array[array != 0]).astype("float64"))
    return sizes


def _ends(arrays: list[HostArray], tail: float) -> tuple[float, float]:
    """Return between which values all but the tails lie, with some room."""
    values = np.concatenate(arrays)
    low, high = np.quantile(values, [tail, 1 - tail]) if values.size else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.5
    return float(low - room), float(high + room)
