"""What is said of a model of a table: how good it is, and which epoch's weights it has."""

from __future__ import annotations

import numpy as np

from graphdiff.host import HostArray
from graphdiff.nn import accuracy, softmax_cross_entropy
from graphdiff.train.files import Saved
from graphdiff.train.history import History
from graphdiff.train.tabular.columns import encode_target
from graphdiff.train.tabular.prepare import Say
from graphdiff.train.tabular.tables import Table

__all__ = ["scores_of", "tell_best"]


def scores_of(
    saved: Saved,
    inputs: HostArray,
    table: Table,
    target: str,
    rows: HostArray | None = None,
    weights: HostArray | None = None,
) -> dict[str, float]:
    """Return how good the predictions for these rows (None: all) are, each counted by its weight."""
    truth = encode_target(table, target, saved.classes)
    truth = truth if rows is None else truth[rows]
    output = saved(inputs)
    if saved.classes is not None:
        return {
            "accuracy": accuracy(output, truth, weights=weights),
            "cross-entropy": float(softmax_cross_entropy(output, truth, weights=weights)),
        }
    # Squares of numbers near the largest would overflow; a power of two rounds nothing.
    unit = np.ldexp(1.0, int(np.frexp(max(np.abs(truth).max(), np.abs(output).max()))[1]) - 1)
    truth, wrong = truth[:, 0] / unit, (output[:, 0] / unit - truth[:, 0] / unit)
    error, spread = (
        np.average(squares, weights=weights)
        for squares in (wrong**2, (truth - np.average(truth, weights=weights)) ** 2)
    )
    scores = {
        "root mean squared error": float(np.sqrt(error) * unit),
        "mean absolute error": float(np.average(np.abs(wrong), weights=weights) * unit),
    }
    return scores | ({"R²": 1 - float(error / spread)} if spread else {})


def tell_best(history: History, epochs: int, patience: int, say: Say) -> None:
    """Say which epoch's weights early stopping has kept, and why training has ended."""
    losses = history.column("validation_loss")
    if len(history) < epochs:
        say(f"stopped after epoch {len(history)}: the held-out loss had not improved for {patience} epochs")
    if np.isfinite(losses).any():
        best = 1 + int(np.nanargmin(losses))
        say(f"the weights are those of epoch {best}, whose held-out loss is the least")
    else:
        say("the held-out loss was never a number: try a lower --lr", err=True)
