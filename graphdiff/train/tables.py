"""Tables in files: CSV, Parquet, NPZ."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
import re
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphdiff.errors import DataError

__all__ = ["Table", "read_table"]

_SEPARATORS = ",;\t|"
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?([eE][+-]?\d+)?\s*")
_BLOCK_ROWS = 8192
"""So many rows of a CSV are lists of Python's at any time."""
_CELL_END = "\n"
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})*\s*")


@dataclasses.dataclass
class Table:
    """Columns by name: arrays of numbers, or lists of text with None where nothing is.

    Attributes
    ----------
    path : Path
    columns : dict
    lines : sequence of int or None
        Which line of the file each of its rows ends on.
    rows : integer array or None
        Which rows of the file these are, counted from 0; None: all.
    nameless : int
        How many columns were left out, for they have no name, such as a numbering of the rows.
    """

    path: Path
    columns: dict[str, Any]
    lines: Sequence[int] | None = None
    rows: Any = None
    nameless: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def error(self, row: int, column: str, told: str) -> DataError:
        """Return an error about a place; `row` counts from 0."""
        row = row if self.rows is None else self.rows[row]
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return DataError(f"{self.path}, row {row + 1}{line}, column {column!r}: {told}")

    def taken(self, rows: Any) -> Table:
        """Return some of the rows, given as an integer array; errors still name them as the file counts."""
        columns = {
            name: [values[row] for row in rows] if isinstance(values, list) else values[rows]
            for name, values in self.columns.items()
        }
        return Table(self.path, columns, self.lines, rows if self.rows is None else self.rows[rows], self.nameless)

    def require(self, names: Iterable[str]) -> None:
        """Refuse a table that lacks columns."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            there = ", ".join(map(repr, list(self.columns)[:20]))
            raise DataError(f"{self.path} has no column {', '.join(map(repr, missing))}; it has {there}")


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table: .parquet and .npz by their ending, anything else as CSV with a header.

    What separates the values of a CSV, a comma, semicolon, tab or bar, is seen from its header. Where it is a
    semicolon, numbers may have a decimal comma. Columns without a name are left out.

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
    lines = array("q")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            separator = _separator(first)
            # A pipe cannot be read from its beginning again.
            reader = csv.reader(itertools.chain([first] if first else [], stream), delimiter=separator)
            header = next(reader, None)
            if header is None:
                raise DataError(f"{path} is empty")
            names = [name.strip() for name in header]
            repeated = sorted({name for name in names if name and names.count(name) > 1})
            if repeated:
                raise DataError(f"{path} has several columns {repeated[0]!r}")
            cells = [_Cells() for _ in names]
            block: list[list[str]] = []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise DataError(
                        f"{path}, row {len(lines) + 1} (line {reader.line_num}): "
                        f"{len(row)} values for {len(names)} columns"
                    )
                block.append(row)
                lines.append(reader.line_num)
                if len(block) == _BLOCK_ROWS:
                    _append(cells, block)
            _append(cells, block)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no CSV in UTF-8: line {_undecodable(path)} is not: {error.reason}; save it as UTF-8, for "
            "example with iconv -f latin1 -t utf8"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, is no CSV: {error}") from error
    if not lines:
        raise DataError(f"{path} has no rows below its header")
    columns = {}
    for name in names:
        column = cells.pop(0)  # so that its text goes as soon as it has been parsed
        if name:
            columns[name] = _parsed(column, separator == ";")
    return Table(path, columns, lines, nameless=names.count(""))


class _Cells:
    """The text of a column, as one string for each block of rows: a string for each cell takes ten times the memory."""

    def __init__(self) -> None:
        self._blocks: list[str | list[str]] = []

    def append(self, values: Iterable[str]) -> None:
        """Add a block of cells."""
        cells = list(values)
        joined = _CELL_END.join(cells)
        # Within quotes, text may have anything.
        self._blocks.append(joined if joined.count(_CELL_END) == len(cells) - 1 else cells)

    def blocks(self) -> Iterator[list[str]]:
        """Yield the cells block by block."""
        for block in self._blocks:
            yield block.split(_CELL_END) if isinstance(block, str) else block

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.blocks())


def _append(cells: Sequence[_Cells], block: list[list[str]]) -> None:
    """Move a block of rows into its columns."""
    for column, values in zip(cells, zip(*block)):
        column.append(values)
    block.clear()


def _separator(header: str) -> str:
    """Return what separates most names in a header."""
    return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([header], delimiter=separator), [])))


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is no UTF-8: the decoder counts bytes, from where it last read on."""
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _parsed(column: _Cells, decimal_comma: bool) -> Any:
    """Return numbers if all are, else the text."""
    commas = False
    if decimal_comma and any("," in value for value in column):

        def present() -> Iterator[str]:
            return (value for value in column if value.strip())

        # Where all may be thousands, as 1,234, nobody can tell.
        commas = all(map(_DECIMAL_COMMA.fullmatch, present())) and not all(map(_THOUSANDS.fullmatch, present()))
    try:
        return np.concatenate([_as_numbers(values, commas) for values in column.blocks()])
    except ValueError:
        known: dict[str, str] = {}
        # Equal texts are kept once.
        return [known.setdefault(text, text) or None for text in _as_text(column, commas)]


def _as_numbers(values: list[str], commas: bool) -> Any:
    return np.array([value.replace(",", ".") for value in values] if commas else values).astype("float64")


def _as_text(column: _Cells, commas: bool) -> Iterator[str]:
    return (value.replace(",", ".").strip() if commas else value.strip() for value in column)


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
                found = arrays[name]
                if found.ndim == 1:
                    columns[name] = _from_array(found, path, name)
                elif found.ndim == 2:
                    for k in range(found.shape[1]):
                        columns[f"{name}.{k}"] = _from_array(found[:, k], path, name)
                else:
                    raise DataError(f"{path}, array {name!r}: {found.ndim} axes, and not one or two")
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated or no NPZ of numbers and text: {error}") from error
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path} has columns of different lengths: {lengths}")
    return Table(path, columns)


def _from_array(values: Any, path: Path, name: str) -> Any:
    if values.dtype.kind in "fiub":
        return values.astype("float64")
    if values.dtype.kind in "U":
        return [value or None for value in values.tolist()]
    raise DataError(f"{path}, array {name!r}: {values.dtype} is neither numbers nor text")
