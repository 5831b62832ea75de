"""Averages of the weights over training, which often do better than the last ones."""

from __future__ import annotations

from graphdiff.errors import DataError, GraphError
from graphdiff.guard import guarded
from graphdiff.tensor import Variable
from graphdiff.train.callbacks import Callback, Run, State
from graphdiff.typing import Array

__all__ = ["AveragedWeights"]


class AveragedWeights(Callback):
    """Average the parameters over training, and give the model their average at the end.

    While training lasts, the model has its own weights, with which the history is measured. Running statistics, such as
    those of `BatchNorm`, are not averaged: call a model with such layers in training mode on some batches afterwards.
    What early stopping has kept is replaced.

    Parameters
    ----------
    decay : float or None
        The average's share of itself after each batch: a ← decay·a + (1 - decay)·w, beginning with the weights after
        the first. None: the mean over all batches. Polyak and Juditsky, Acceleration of stochastic approximation by
        averaging, 1992.
    start : int
        After so many epochs averaging begins.

    Raises
    ------
    GraphError
        At the end of training: it was over before averaging began.

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> X = np.random.default_rng(0).normal(size=(64, 1)).astype("float32")
    >>> model = gd.nn.Linear(1, in_features=1)
    >>> optimizer = gd.optim.SGD(model.parameters(), lr=0.1)
    >>> averaged = gd.train.AveragedWeights(decay=0.9)
    >>> history = gd.train.fit(model, gd.nn.squared_error, (X, 3 * X), optimizer, epochs=50, callbacks=[averaged])
    >>> round(model.weight.item(), 2)
    3.0
    """

    @guarded
    def __init__(self, decay: float | None = 0.999, start: int = 0) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise DataError(f"an average keeps a share of itself in [0, 1), not {decay}")
        if start < 0:
            raise DataError(f"averaging begins after so many epochs, not {start}")
        self.decay, self.start = decay, start
        self._count = 0
        self._average: dict[str, Array] = {}
        self._leaves: dict[str, Variable] = {}

    def on_start(self, run: Run) -> None:
        self._leaves = dict(run.model.named_parameters())
        if not (run.epoch or run.batch):
            self._count, self._average = 0, {}
        self._average = {path: self._leaves[path].backend.from_host(kept) for path, kept in self._average.items()}

    def on_batch(self, run: Run) -> None:
        if run.epoch < self.start:
            return
        self._count += 1
        share = 1 / self._count if self.decay is None else 1 - self.decay
        for path, leaf in self._leaves.items():
            average = self._average.get(path)
            # Parameters change in place, averages do not.
            self._average[path] = (
                leaf.backend.copy(leaf.value) if average is None else average + share * (leaf.value - average)
            )

    def on_end(self, run: Run) -> None:
        if not self._average:
            raise GraphError(f"training ended after {run.epoch} epochs, and averaging was to begin after {self.start}")
        for path, leaf in self._leaves.items():
            leaf.assign(self._average[path])

    def state(self) -> State:
        kept = {path: self._leaves[path].backend.to_host(average) for path, average in self._average.items()}
        return {"count": self._count, "average": kept}

    def load_state(self, state: State) -> None:
        self._count, self._average = state["count"], state["average"]
