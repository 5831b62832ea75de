"""Tables in files (CSV, Parquet, NPZ), and how their columns become numbers.

What cannot be trained on is refused with file, row and column. Rows count from 1, the header is none.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphdiff.errors import DataError

__all__ = ["Table", "describe_columns", "describe_target", "encode", "encode_target", "read_table"]

_MOST_CATEGORIES = 200
_MOST_CLASSES = 20


@dataclasses.dataclass
class Table:
    """Columns by name: arrays of numbers, or lists of text with None where nothing is.

    Attributes
    ----------
    path : Path
    columns : dict
    lines : sequence of int or None
        Which line of the file each row ends on.
    """

    path: Path
    columns: dict[str, Any]
    lines: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def error(self, row: int, column: str, told: str) -> DataError:
        """Return an error about a place; `row` counts from 0."""
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return DataError(f"{self.path}, row {row + 1}{line}, column {column!r}: {told}")

    def require(self, names: Iterable[str]) -> None:
        """Refuse a table that lacks columns."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            there = ", ".join(map(repr, list(self.columns)[:20]))
            raise DataError(f"{self.path} has no column {', '.join(map(repr, missing))}; it has {there}")


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table: .parquet and .npz by their ending, anything else as CSV with a header.

    Raises
    ------
    DataError
        No such file, no rows, rows of different length, or a file of another kind.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = _read_parquet(path)
        elif path.suffix.lower() == ".npz":
            table = _read_npz(path)
        else:
            table = _read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not table.columns or not len(table):
        raise DataError(f"{path} has no rows")
    return table


def _read_csv(path: Path) -> Table:
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = next(reader, None)
            if header is None:
                raise DataError(f"{path} is empty")
            names = [name.strip() for name in header]
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise DataError(f"{path} has several columns {repeated[0]!r}")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise DataError(
                        f"{path}, row {len(rows) + 1} (line {reader.line_num}): "
                        f"{len(row)} values for {len(names)} columns"
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows below its header")
    return Table(path, {name: _parsed(values) for name, values in zip(names, zip(*rows))}, lines)


def _parsed(values: Sequence[str]) -> Any:
    """Return numbers if all are, else the text."""
    try:
        return np.array(values).astype("float64")
    except ValueError:
        return [value.strip() or None for value in values]


def _read_parquet(path: Path) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f'{path} needs pyarrow: pip install "graphdiff[parquet]"') from error
    try:
        read = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path} is truncated or no Parquet: {error}") from error
    columns: dict[str, Any] = {}
    for name in read.column_names:
        column = read.column(name)
        kind = column.type
        if pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_decimal(kind):
            columns[name] = np.array([np.nan if x is None else float(x) for x in column.to_pylist()])
        elif pyarrow.types.is_nested(kind):
            raise DataError(f"{path}, column {name!r}: values of {kind} are neither numbers nor text")
        else:
            columns[name] = [None if value is None else str(value) for value in column.to_pylist()]
    return Table(path, columns)


def _read_npz(path: Path) -> Table:
    columns: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                array = arrays[name]
                if array.ndim == 1:
                    columns[name] = _from_array(array, path, name)
                elif array.ndim == 2:
                    for k in range(array.shape[1]):
                        columns[f"{name}.{k}"] = _from_array(array[:, k], path, name)
                else:
                    raise DataError(f"{path}, array {name!r}: {array.ndim} axes, and not one or two")
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or no NPZ of numbers and text: {error}") from error
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path} has columns of different lengths: {lengths}")
    return Table(path, columns)


def _from_array(array: Any, path: Path, name: str) -> Any:
    if array.dtype.kind in "fiub":
        return array.astype("float64")
    if array.dtype.kind in "U":
        return [value or None for value in array.tolist()]
    raise DataError(f"{path}, array {name!r}: {array.dtype} is neither numbers nor text")


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _as_numbers(table: Table, name: str, strict: bool) -> Any:
    """Return a column as finite numbers, or None where it is one of text and `strict` is not asked for."""
    values = table.columns[name]
    if isinstance(values, list):
        numbers = [_number(value) for value in values]
        present = sum(value is not None for value in values)
        if not strict and 2 * sum(number is not None for number in numbers) < max(present, 1):
            return None
        for row, (value, number) in enumerate(zip(values, numbers)):
            if value is None:
                raise table.error(row, name, "the value is missing")
            if number is None:
                raise table.error(row, name, f"{value!r} is no number, in a column of numbers")
        values = np.array(numbers, dtype="float64")
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise table.error(row, name, f"{values[row]} cannot be trained on")
    return values


def _as_text(table: Table, name: str) -> list[str]:
    values = table.columns[name]
    if not isinstance(values, list):
        numbers = _as_numbers(table, name, strict=True)
        return [str(int(number)) if number == int(number) else str(number) for number in numbers.tolist()]
    for row, value in enumerate(values):
        if value is None:
            raise table.error(row, name, "the value is missing")
    return values


def describe_columns(
    table: Table, target: str, ignored: Sequence[str] = (), categorical: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return how each input column becomes numbers: as it is, or as one column per category.

    A column is one of numbers if at least half of what it holds are numbers; other text in it is refused then.
    """
    table.require([target, *ignored, *categorical])
    columns: list[dict[str, Any]] = []
    for name in table.columns:
        if name == target or name in ignored:
            continue
        if name not in categorical and _as_numbers(table, name, strict=False) is not None:
            columns.append({"name": name, "kind": "numeric"})
            continue
        categories = sorted(set(_as_text(table, name)))
        if len(categories) > _MOST_CATEGORIES:
            raise DataError(
                f"{table.path}, column {name!r}: {len(categories)} different texts are too many categories; "
                "leave the column out"
            )
        columns.append({"name": name, "kind": "categorical", "categories": categories})
    if not columns:
        raise DataError(f"{table.path} has no column besides {target!r} to predict it from")
    return columns


def encode(table: Table, columns: Sequence[dict[str, Any]]) -> Any:
    """Return a table's columns as a float64 array of shape (rows, inputs)."""
    table.require(column["name"] for column in columns)
    parts = []
    for column in columns:
        name = column["name"]
        if column["kind"] == "numeric":
            parts.append(_as_numbers(table, name, strict=True)[:, None])
            continue
        places = {category: place for place, category in enumerate(column["categories"])}
        chosen = []
        for row, value in enumerate(_as_text(table, name)):
            if value not in places:
                raise table.error(row, name, f"{value!r} is none of the {len(places)} categories trained on")
            chosen.append(places[value])
        parts.append(np.eye(len(places))[chosen])
    return np.concatenate(parts, axis=1)


def describe_target(table: Table, target: str, task: str = "auto") -> tuple[list[Any] | None, str]:
    """Return the classes, or None for a regression, and why it is which."""
    table.require([target])
    values = table.columns[target]
    text = isinstance(values, list)
    if text:
        for row, value in enumerate(values):
            if value is None:
                raise table.error(row, target, "the target is missing")
    else:
        missing = np.isnan(values)
        if missing.any():
            raise table.error(int(missing.argmax()), target, "the target is missing")
        _as_numbers(table, target, strict=True)
    if task == "regression" or (task == "auto" and text and _as_numbers(table, target, strict=False) is not None):
        numbers = _as_numbers(table, target, strict=True)
        if len(np.unique(numbers)) < 2:
            raise DataError(f"{table.path}, column {target!r}: the target is {numbers[0]:g} in every row")
        return None, "asked for"
    distinct: list[Any] = sorted(set(values)) if text else np.unique(values).tolist()
    whole = text or all(value == int(value) for value in distinct)
    most = max(2, min(_MOST_CLASSES, len(table) // 5))
    if task == "auto" and not text and not (whole and len(distinct) <= most) and len(distinct) > 1:
        return None, f"{len(distinct)} different numbers"
    if len(distinct) < 2:
        raise DataError(f"{table.path}, column {target!r}: there is a single class, {distinct[0]!r}")
    if text and len(distinct) > max(_MOST_CATEGORIES, most):
        raise DataError(f"{table.path}, column {target!r}: {len(distinct)} different texts are too many classes")
    classes = distinct if text or not whole else [int(value) for value in distinct]
    kind = "texts" if text else "whole numbers" if whole else "numbers"
    return classes, f"{len(classes)} different {kind}" if task == "auto" else "asked for"


def encode_target(table: Table, target: str, classes: Sequence[Any] | None) -> Any:
    """Return class numbers of shape (rows,), or numbers of shape (rows, 1)."""
    table.require([target])
    if classes is None:
        return _as_numbers(table, target, strict=True)[:, None]
    numeric = not isinstance(classes[0], str)
    values = _as_numbers(table, target, strict=True).tolist() if numeric else _as_text(table, target)
    places = {value: place for place, value in enumerate(classes)}
    for row, value in enumerate(values):
        if value not in places:
            raise table.error(row, target, f"{value!r} is none of the {len(places)} classes trained on")
    return np.array([places[value] for value in values])
