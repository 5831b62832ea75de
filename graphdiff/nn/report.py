"""What a model is made of, and how activations and gradients fare on their way through it, as tables that are data."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, overload

from graphdiff.costs.node import node_cost
from graphdiff.differentiate import adjoints
from graphdiff.errors import GraphError
from graphdiff.guard import guarded
from graphdiff.nn.containers import Sequential
from graphdiff.nn.inputs import (
    Inputs,
    Names,
    Shapes,
    call_with,
    placeholders,
    require_callable,
    shapes_of,
    split_inputs,
)
from graphdiff.nn.layers import Activation
from graphdiff.nn.module import Module
from graphdiff.op import as_tensor
from graphdiff.tensor import OBSERVERS, Tensor, Variable
from graphdiff.text.tables import plain, table
from graphdiff.typing import ArrayLike, DTypeLike, Function

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Table", "differentiated", "observed", "statistics", "summary"]

Row = dict[str, Any]
# How far a gradient's size may be from the output's before it is called vanishing or exploding.
_FACTOR = 1e3


class Table(Sequence[Row]):
    """Rows of named values that print as a table.

    Attributes
    ----------
    rows : list of dict
    title : str
    totals : dict
        Sums over the rows, shown below them.
    """

    def __init__(self, title: str, rows: list[Row], totals: Row | None = None) -> None:
        self.title, self.rows, self.totals = title, rows, {} if totals is None else totals

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        return self.rows[place]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __rich__(self) -> RenderableType:
        names = list(self.rows[0]) if self.rows else []
        rows = [[_shown(row[name]) for name in names] for row in self.rows]
        numeric = [place for place, name in enumerate(names) if any(_is_number(row[name]) for row in self.rows)]
        totals = ["total", *(_shown(self.totals.get(name)) for name in names[1:])] if self.totals else ()
        headings = [name.replace("_", "\n") for name in names]
        return table(headings, rows, title=self.title, right=numeric, totals=totals)

    def __str__(self) -> str:
        return plain(self)

    def __repr__(self) -> str:
        return str(self)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float))


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " × ".join(map(str, value)) or "number"
    if isinstance(value, bool) or not _is_number(value):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


Turn = tuple[Module, tuple[Tensor, ...], Tensor]
"""A module that was called, what it was given, and what it made of that."""


def observed(model: Module, inputs: Sequence[ArrayLike], names: Names = None) -> tuple[Tensor, list[Turn]]:
    """Return a model's output for its inputs, and the turns of all modules, inner ones first."""
    turns: list[Turn] = []

    def observe(module: Module, given: tuple[object, ...], output: Tensor) -> None:
        turns.append((module, tuple(item for item in given if isinstance(item, Tensor)), output))

    OBSERVERS.open(observe)
    try:
        output = call_with(model, inputs, names)
    finally:
        OBSERVERS.close(observe)
    return output, turns


def _listed(model: Module) -> list[tuple[str, Module]]:
    """Return the modules that tables list: all but those that only hold others."""
    found: dict[Module, str] = {}
    for path, module in model.named_modules():
        found.setdefault(module, path)
    return [(path, module) for module, path in found.items() if not isinstance(module, Sequential)]


def _title(path: str, module: Module) -> str:
    name = getattr(module, "name", "") if isinstance(module, Activation) else ""
    return " ".join(filter(None, (path, type(module).__name__, name)))


# Summary ---------------------------------------------------------------------------------------------------------


def _own_flops(given: Sequence[Tensor], output: Tensor, counted: set[Tensor]) -> int:
    """Return the flops of what lies between input and output and is not counted yet; it is from then on."""
    flops, pending, seen = 0, [output], set(given)
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if node not in counted:
            counted.add(node)
            flops += node_cost(node).flops
        pending.extend(node.inputs)
    return flops


@guarded
def summary(model: Module, input_shape: Shapes, *, dtype: DTypeLike | Sequence[DTypeLike] = "float32") -> Table:
    """Return a table of a model's layers: output shapes, parameters and flops of one example in evaluation.

    The model stays as it is; one that infers its input's size need not have been called.

    Parameters
    ----------
    model : Module
    input_shape : int or sequence of int, or a sequence or dict of them
        Of one example, without the batch's axis; of a model of several inputs the shape of each, ``((3,), (4, 4))``, or
        a dict of them by the arguments' names.
    dtype : dtype-like, or a sequence of them
        Of the inputs.

    Returns
    -------
    Table
        Rows with "layer", "output_shape" (of one example; None for a layer that was not called), "parameters",
        "statistics" (numbers that are kept but not trained) and "flops" (those that `gd.cost` counts), each without
        those of layers within; their sums are in `Table.totals`.

    Raises
    ------
    ShapeError
        The input does not fit the model.

    Examples
    --------
    >>> import graphdiff as gd
    >>> print(gd.nn.summary(gd.nn.MLP([16, 3]), 4))
    MLP for inputs of 4
                              output
    layer                     shape   parameters  statistics  flops
    ────────────────────────────────────────────────────────────────
    layers.0 Linear           16              80           0    128
    layers.1 Activation relu  16               0           0      0
    layers.2 Linear           3               51           0     96
    ────────────────────────────────────────────────────────────────
    total                                    131           0    224
    """
    lengths, names = shapes_of(input_shape)
    if not isinstance(model, Module):
        raise GraphError(f"a summary is of a gd.nn.Module, not of a {type(model).__name__}")
    model = copy.deepcopy(model).eval()
    require_callable(model, len(lengths), names, "; several inputs have a shape each, as ((3,), (4,))")
    _, turns = observed(model, placeholders(lengths, names, 1, dtype), names)
    shapes: dict[Module, tuple[int, ...]] = {}
    flops: dict[Module, int] = {}
    counted: set[Tensor] = set()
    for module, given, output in turns:
        shapes[module] = output.shape[1:]
        flops[module] = flops.get(module, 0) + _own_flops(given, output, counted)
    rows: list[Row] = []
    seen: set[Tensor] = set()
    for path, module in _listed(model):
        own = [leaf for leaf in _variables_of(module) if leaf not in seen]
        seen.update(own)
        buffers = {leaf for name, leaf in vars(module).items() if name in module.buffers}
        rows.append(
            {
                "layer": _title(path, module),
                "output_shape": shapes.get(module),
                "parameters": sum(leaf.size for leaf in own if leaf not in buffers),
                "statistics": sum(leaf.size for leaf in own if leaf in buffers),
                "flops": flops.get(module, 0),
            }
        )
    totals = {name: sum(row[name] for row in rows) for name in ("parameters", "statistics")}
    totals["flops"] = sum(flops.values())
    told = ", ".join(map(_shown, lengths))
    return Table(f"{type(model).__name__} for inputs of {told}", rows, totals)


def _variables_of(module: Module) -> list[Variable]:
    """Return the variables of a module itself, without those of modules within."""
    return [item for _, item, _ in module._named(Variable)]


# Statistics ------------------------------------------------------------------------------------------------------


def _moments(prefix: str, tensor: Tensor | None) -> Row:
    if tensor is None or not tensor.size:
        return {f"{prefix}_{name}": None for name in ("mean", "std", "zeros")}
    array = tensor.numpy().astype("float64")
    moments = {"mean": array.mean(), "std": array.std(), "zeros": (array == 0).mean()}
    return {f"{prefix}_{name}": float(value) for name, value in moments.items()}


def differentiated(
    model: Module, x: Inputs, y: ArrayLike, loss: Function[Tensor]
) -> tuple[Tensor, Mapping[Tensor, Tensor], list[tuple[str, Module, Tensor | None]]]:
    """Return the loss of a batch, its adjoints, and title, module and output (None if not called) of every layer.

    Raises
    ------
    GraphError
        The loss depends on no parameter of the model.
    """
    inputs, names = split_inputs(x)
    require_callable(model, len(inputs), names, "; several arrays are given as a tuple or, by name, a dict")
    output, turns = observed(model, list(map(as_tensor, inputs)), names)
    error = loss(output, y)
    if not isinstance(error, Tensor) or not error.recorded:
        raise GraphError("the loss depends on no parameter of the model")
    outputs = {module: made for module, _, made in turns}
    layers = [(_title(path, module), module, outputs.get(module)) for path, module in _listed(model)]
    return error, adjoints(error), layers


@guarded
def statistics(model: Module, x: Inputs, y: ArrayLike, loss: Function[Tensor]) -> Table:
    """Return a table of each layer's activations and of the loss's gradients by them, to see them vanish or explode.

    The model stays as it is, running statistics and random streams included; it is run in its present mode.

    Parameters
    ----------
    model : Module
    x : array, tuple or dict of arrays
        A batch; of a model of several inputs a tuple of arrays, or a dict of them by the arguments' names.
    y : array
        Its targets.
    loss : callable
        Of the model's output and y.

    Returns
    -------
    Table
        Rows with "layer"; "activation_mean", "activation_std" and "activation_zeros" (the fraction that is 0) of its
        output; the same with "gradient" of the loss's gradient by it, None where there is none; "weight_gradient", the
        root mean square of the gradient by its own parameters; and "remark": "vanishing" or "exploding" where the
        gradient's root mean square is a thousandth or less, or a thousand times or more, that of the last layer; "dead"
        where every activation is 0; "not finite".

    Raises
    ------
    GraphError
        The model has no listed layer, or the loss does not depend on it.

    Examples
    --------
    >>> import numpy as np
    >>> import graphdiff as gd
    >>> x, y = np.random.default_rng(0).normal(size=(100, 10)), np.zeros((100, 1))
    >>> model = gd.nn.MLP([10] * 12 + [1], "sigmoid", in_features=10, dtype="float64")
    >>> table = gd.nn.statistics(model, x, y, gd.nn.squared_error)
    >>> table[0]["layer"], table[0]["remark"]
    ('layers.0 Linear', 'vanishing')
    >>> table[-1]["remark"]
    ''
    """
    error, found, layers = differentiated(copy.deepcopy(model), x, y, loss)
    rows: list[Row] = []
    for title, module, made in layers:
        gradients = [found[leaf].numpy() for leaf in _variables_of(module) if leaf in found]
        squares = [float((array.astype("float64") ** 2).sum()) for array in gradients]
        count = sum(array.size for array in gradients)
        rows.append(
            {"layer": title}
            | _moments("activation", made)
            | _moments("gradient", None if made is None else found.get(made))
            | {"weight_gradient": math.sqrt(sum(squares) / count) if count else None}
        )
    sizes = [_size(row) for row in rows]
    last = next((size for size in reversed(sizes) if size), 0.0)
    for row, size in zip(rows, sizes, strict=True):
        row["remark"] = _remark(row, size, last)
    return Table(f"{type(model).__name__}: activations and gradients, loss {float(error):.4g}", rows)


def _size(row: Row) -> float:
    """Return the root mean square of the gradient; 0 where there is none."""
    return math.hypot(row["gradient_mean"], row["gradient_std"]) if row["gradient_std"] is not None else 0.0


def _remark(row: Row, size: float, last: float) -> str:
    numbers = [value for value in row.values() if isinstance(value, float)]
    if not all(map(math.isfinite, numbers)):
        return "not finite"
    if row["activation_zeros"] == 1:
        return "dead"
    if row["gradient_std"] is None or not last:
        return ""
    return "vanishing" if size * _FACTOR <= last else "exploding" if size >= _FACTOR * last else ""
