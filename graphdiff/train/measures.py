"""What is measured after each epoch: means over the rows, block by block, and metrics of all outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import SupportsFloat, TypeAlias

from graphdiff.errors import DataError
from graphdiff.host import HostArray
from graphdiff.nn.losses import accuracy
from graphdiff.ops.shape import concatenate
from graphdiff.tensor import Tensor, constant
from graphdiff.train.examples import Examples
from graphdiff.train.history import Record
from graphdiff.typing import ArrayData, Function

__all__ = ["BLOCK_ROWS", "Metric", "is_classified", "measured", "measures_of", "rows_at_once"]

Metric: TypeAlias = Function[SupportsFloat]
"""Of output and targets; a loss that examples are weighted for takes `weights` too."""

_WEIGHTED = ("loss", "accuracy")
"""What is measured in any case, weighted if the examples are."""

BLOCK_ROWS = 8192
"""How many rows go through the model at once, so that large data need little memory."""


def rows_at_once(X: ArrayData) -> int:
    """Return how many of these inputs a model is given at once where it may be any number."""
    return min(BLOCK_ROWS, max(1, 2**22 // max(1, math.prod(X.shape[1:]))))


def is_classified(output: Tensor, y: HostArray) -> bool:
    """Whether the targets are classes: one integer per row, and an output for each class."""
    return y.dtype.kind in "iu" and y.ndim == 1 and output.ndim == 2 and output.shape[1] > 1


def measures_of(
    loss: Metric, metrics: Mapping[str, Metric] | Sequence[Metric], classified: bool
) -> tuple[dict[str, Metric], dict[str, Metric]]:
    """Return what is measured after each epoch, on the training data and on what is held out."""
    named = dict(metrics) if isinstance(metrics, Mapping) else {_name(metric): metric for metric in metrics}
    if len(named) < len(metrics):
        raise DataError(f"several metrics are called {', '.join(named)}: give a dict of metrics by name")
    taken = {"epoch", *_WEIGHTED} & named.keys()
    if taken:
        raise DataError(f"a metric cannot be called {taken.pop()!r}: that is recorded anyway")
    training = ({"accuracy": accuracy} if classified else {}) | named
    return training, {"loss": loss} | training


def _name(metric: Metric) -> str:
    return getattr(metric, "__name__", type(metric).__name__.lower())


def measured(
    predict: Function[Tensor], measures: Mapping[str, Metric], examples: Examples, rows: HostArray | None
) -> Record:
    """Return what is measured of these rows (None: all), whose outputs are computed block by block.

    Loss, accuracy and metrics that say so are means over the rows, found by block too; loss and accuracy are weighted
    as the examples. Nothing is known of other metrics: they are called once, with the outputs of all rows.
    """
    if not measures:
        return {}
    totals = dict.fromkeys(measures, 0.0)
    once = [name for name, measure in measures.items() if name not in _WEIGHTED and not getattr(measure, "averages", 0)]
    count = len(examples) if rows is None else len(rows)
    weight = 0.0 if examples.weights is None else _sum(examples.weights if rows is None else examples.weights[rows])
    outputs = []
    blocks = _blocks(min(map(rows_at_once, examples.inputs)), rows, count)
    for block in blocks:
        inputs, targets, beside = examples.parts(examples.taken(block))
        output = predict(*inputs)
        if once:
            outputs.append(output if len(blocks) == 1 else constant(output.value))  # without the graph that made it
        for name in measures.keys() - once:
            weighted = beside if name in _WEIGHTED else {}
            share = _sum(weighted["weights"]) / weight if weighted else len(targets) / count
            if share:  # where nothing counts, a weighted mean is 0/0
                found = _number(name, measures[name](output, targets, **weighted))
                totals[name] += found if len(blocks) == 1 else found * share
    if once:
        output = outputs[0] if len(outputs) == 1 else concatenate(outputs, axis=0)
        targets = examples.targets if rows is None else examples.targets[rows]
        totals |= {name: _number(name, measures[name](output, targets)) for name in once}
    return totals


def _blocks(size: int, rows: HostArray | None, count: int) -> list[slice | HostArray]:
    """Return which rows are measured together: indices of `count` rows, or of all where rows is None."""
    if count <= size:
        return [slice(None) if rows is None else rows]
    return [slice(k, k + size) if rows is None else rows[k : k + size] for k in range(0, count, size)]


def _number(name: str, found: SupportsFloat) -> float:
    shape = getattr(found, "shape", ())
    if math.prod(shape) != 1:
        raise DataError(f"the metric {name!r} returns an array of shape {list(shape)}, and not a number")
    return float(found)


def _sum(weights: HostArray) -> float:
    return float(weights.sum(dtype="float64"))
