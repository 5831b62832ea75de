"""A table made ready to train on: which columns are inputs, what empty cells become, which rows are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphdiff.host import HostArray
from graphdiff.train.scaling import Scaler, Standardise
from graphdiff.train.tabular.columns import (
    Column,
    Label,
    count_missing,
    describe_columns,
    describe_target,
    drop_missing,
    encode,
    encode_target,
    encode_weights,
    row_numbers,
    with_fills,
)
from graphdiff.train.tabular.tables import Table, read_table
from graphdiff.typing import Function

__all__ = ["Asked", "Prepared", "Say", "prepare"]

Say = Function[object]
"""Tells a user a line, as ``say(line, err=False)``; with `err` among the warnings."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a table.

    Attributes
    ----------
    target : str
        The column to predict.
    task : {"auto", "classification", "regression"}
    ignore, categorical : sequence of str
        Columns to leave out, and those of numbers that are categories.
    sample_weight : str or None
        A column that says how much each row counts.
    missing : {"error", "mean", "median", "drop"}
        What empty cells become.
    validation : float
        The share of rows held out.
    seed : int
        Of the split.
    """

    target: str
    task: str = "auto"
    ignore: Sequence[str] = ()
    categorical: Sequence[str] = ()
    sample_weight: str | None = None
    missing: str = "error"
    validation: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Prepared:
    """A table as arrays.

    Attributes
    ----------
    columns : list of dict
        The inputs' columns as a model's file has them.
    classes : list of str or None
        None of numbers to predict.
    why : str
        How the task was inferred.
    inputs : array
        Before scaling, rows by inputs.
    arrays : list of array
        Scaled inputs, targets and, where asked for, weights.
    scaler, target_scaler : Scaler
    trained, tested : array of int
        Rows to train on, and those held out.
    """

    asked: Asked
    table: Table
    columns: list[Column]
    classes: list[Label] | None
    why: str
    inputs: HostArray
    arrays: list[HostArray]
    scaler: Scaler
    target_scaler: Scaler | None
    trained: HostArray
    tested: HostArray

    @property
    def outputs(self) -> int:
        """How many numbers a model of it returns."""
        return 1 if self.classes is None else len(self.classes)

    @property
    def task(self) -> str:
        """Whether a class or a number is predicted."""
        return "regression" if self.classes is None else "classification"

    def rows(self, places: HostArray) -> list[HostArray]:
        """Return inputs, targets and weights of some rows."""
        return [array[places] for array in self.arrays]


def prepare(data: Path, asked: Asked, say: Say) -> Prepared:
    """Read a table and make it ready to train on; `say` hears what is left out, dropped and filled in.

    Raises
    ------
    DataError
        The file cannot be read, a column is not there, or a cell is not what its column is of.
    """
    table = read_table(data, [asked.target, *asked.categorical])
    ignore = list(asked.ignore)
    if asked.sample_weight is not None:
        table.require([asked.sample_weight])
        ignore.append(asked.sample_weight)
    classes, why = describe_target(table, asked.target, asked.task)
    columns = describe_columns(
        table, asked.target, ignore, list(asked.categorical), allow_missing=asked.missing != "error"
    )
    if table.nameless:
        say(f"{table.nameless} columns without a name left out")
    for name in row_numbers(table, columns):
        say(f"column {name!r} counts the rows: if it means nothing, --ignore {name} leaves it out", err=True)
    absent = count_missing(table, columns)
    if asked.missing == "drop" and absent:
        whole, table = len(table), drop_missing(table, columns)
        columns = describe_columns(table, asked.target, ignore, list(asked.categorical))
        say(f"{whole - len(table)} of {whole} rows dropped, for their {absent} missing values")
        classes, why = describe_target(table, asked.target, asked.task)
    trained, tested = _split(len(table), asked.validation, asked.seed)
    if asked.missing in ("mean", "median"):
        columns = with_fills(table, columns, trained, asked.missing)
        if absent:
            say(f"{absent} missing values filled in with the {asked.missing} of their column's training rows")
    return _scaled(asked, table, columns, classes, why, trained, tested)


def _split(count: int, validation: float, seed: int) -> tuple[HostArray, HostArray]:
    """Return which rows are trained on and which are held out, both in order; at least one is trained on."""
    order = np.random.default_rng((seed, 1)).permutation(count)
    held = min(round(validation * count), count - 1)
    return np.sort(order[held:]), np.sort(order[:held])


def _scaled(
    asked: Asked,
    table: Table,
    columns: list[Column],
    classes: list[Label] | None,
    why: str,
    trained: HostArray,
    tested: HostArray,
) -> Prepared:
    """Return the table's arrays, scaled by the rows that are trained on."""
    inputs, targets = encode(table, columns), encode_target(table, asked.target, classes)
    weights = () if asked.sample_weight is None else (encode_weights(table, asked.sample_weight).astype("float32"),)
    # Of each input the column that it is of: a column has one, or one for each category.
    sources = [column for column in columns for _ in column.get("categories", [0])]
    scaler = Standardise([place for place, column in enumerate(sources) if column["kind"] == "numeric"])
    X = _single(scaler.fit(inputs[trained]).transform(inputs), table, [column["name"] for column in sources])
    target_scaler = None
    if classes is None:
        target_scaler = Standardise().fit(targets[trained])
        targets = _single(target_scaler.transform(targets), table, [asked.target])
    arrays = [X, targets, *weights]
    return Prepared(asked, table, columns, classes, why, inputs, arrays, scaler, target_scaler, trained, tested)


def _single(scaled: HostArray, table: Table, names: list[str]) -> HostArray:
    """Return scaled values in single precision, in which one far from those trained on may be too large."""
    with np.errstate(over="ignore"):
        single = scaled.astype("float32")
    for row, place in np.argwhere(~np.isfinite(single))[:1].tolist():
        value = table.columns[names[place]][row]
        raise table.error(
            row, names[place], f"{value} is too far from the values trained on to be scaled; leave it out"
        )
    return single
