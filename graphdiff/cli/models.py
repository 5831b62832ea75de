"""A model that `graphdiff train` wrote as a graph to look at: of its layers, or of its loss on rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import click

from graphdiff import draw as drawing
from graphdiff.cli.tables import loaded
from graphdiff.graph import Graph
from graphdiff.nn import Module, softmax_cross_entropy, squared_error
from graphdiff.tensor import Tensor
from graphdiff.train import load
from graphdiff.train.tabular.columns import encode_target
from graphdiff.typing import Tree

Outputs: TypeAlias = "Tree[Tensor] | Graph"
"""What a picture can be made of, besides a model."""

__all__ = ["Outputs", "model_of", "tensors_of"]


def model_of(path: Path, data: Path | None, rows: Sequence[int]) -> Module | Outputs:
    """Return the model in a file; with data the loss, or where the data lacks the target, the prediction.

    Parameters
    ----------
    path : Path
    data : Path, optional
        A table with the columns that the model was trained on.
    rows : sequence of int
        Which of its rows, the first being 1.

    Raises
    ------
    DataError
        A file cannot be read, or lacks a column.
    click.BadParameter
        There is no such row.
    """
    if data is None:
        return load(path).model.eval()
    saved, table, inputs = loaded(path, data)
    if any(not 1 <= row <= len(table) for row in rows):
        raise click.BadParameter(f"{data} has the rows 1 to {len(table)}, not {max(rows)}", param_hint="--row")
    chosen = [row - 1 for row in rows]
    X = inputs if saved.scaler is None else saved.scaler.transform(inputs)
    target = saved.notes["target"]
    truth = encode_target(table, target, saved.classes)[chosen] if target in table.columns else None

    def loss(output: Tensor) -> Tensor:
        output.name = "prediction" if saved.classes is None else "logits"
        if truth is None:
            return output
        if saved.classes is not None:
            return softmax_cross_entropy(output, truth)
        scaled = truth if saved.target_scaler is None else saved.target_scaler.transform(truth)
        return squared_error(output, scaled.astype(str(output.dtype)))

    return _placed(drawing.draw(saved.model.eval(), inputs=X[chosen], loss=loss).outputs, str(path))


def tensors_of(outputs: Module | Outputs) -> Outputs:
    """Return Tensors to look at: of a model its output for an input that is not known."""
    return _placed(drawing.draw(outputs).outputs, "model") if isinstance(outputs, Module) else outputs


def _placed(outputs: Outputs, title: str) -> Outputs:
    """Say of every node which layer made it: there is no line of a user's that did."""
    for node in Graph(outputs):
        node._code = f"{title}:{node.scope or 'all'}"
    return outputs
