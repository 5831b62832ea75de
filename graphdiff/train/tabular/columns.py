"""How the columns of a table become numbers.

What cannot be trained on is refused with file, row and column. Rows count from 1, the header is none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np

from graphdiff.errors import DataError
from graphdiff.host import HostArray
from graphdiff.train.tabular.tables import MISSING, Table, number_of, written

__all__ = [
    "Column",
    "Label",
    "count_missing",
    "describe_columns",
    "describe_target",
    "drop_missing",
    "encode",
    "encode_target",
    "encode_weights",
    "row_numbers",
    "with_fills",
]

Label: TypeAlias = str | float
"""A category or a class: a text, or a number, which is whole if it can be."""
Column: TypeAlias = dict[str, Any]
"""How a column becomes numbers: "name", "kind" ("numeric" or "categorical"), "categories", and "fill" where values may
be missing."""

_MOST_CATEGORIES = 200
_MOST_CLASSES = 20
_FEW = 20
"""So many texts may all be different: in a small table."""
_CODE = re.compile(r"\s*[+-]?0\d.*", re.DOTALL)
"""A text that begins with zeros is more than the number that it spells."""
_LIKE_A_NUMBER = re.compile(r"[+-]?\W?\d[\d.,' ]*\s?\W?")


def _is_marked_number(text: str) -> bool:
    """Whether a text would be a number without marks of thousands, a decimal comma or a unit's sign."""
    return number_of(text) is None and _LIKE_A_NUMBER.fullmatch(text) is not None


def _label(text: str) -> int | float | None:
    """Return the number that a label is, exactly where it is whole; None where it is a text, or a code such as 007."""
    number = None if _CODE.fullmatch(text) else number_of(text)
    if number is None or not math.isfinite(number):
        return None
    exact = Decimal(text.strip())
    return int(exact) if exact == exact.to_integral_value() else number


def _is_numeric(table: Table, name: str) -> bool:
    """Whether at least half of what a column holds are numbers; other text in it is refused then."""
    values = table.columns[name]
    if isinstance(values, list):
        texts = [text for text in map(_present, values) if text is not None]
        if 2 * sum(number_of(text) is not None for text in texts) < max(len(texts), 1):
            return False
    _numbers(table, name)
    return True


def _present(text: str | None) -> str | None:
    """Return a cell of a column of numbers, or None where it stands for nothing."""
    return None if text is None or text.lower() in MISSING else text


def _numbers(table: Table, name: str) -> HostArray:
    """Return a column as numbers, NaN where nothing is."""
    values = table.columns[name]
    if isinstance(values, list):
        texts = list(map(_present, values))
        found = list(map(number_of, texts))
        strange = [text is not None and number is None for text, number in zip(texts, found)]
        table.refuse(strange, name, lambda row: f"{values[row]!r} is no number, in a column of numbers")
        numbers = np.array(found, dtype="float64")
    else:
        numbers = values
    table.refuse(np.isinf(numbers), name, lambda row: _unfit(values[row]))
    return numbers


def _unfit(value: str | float | None) -> str:
    """Return why a value is refused."""
    if value is None:
        return "the value is missing"
    beyond = " is beyond the range of float64 and" if str(value).strip("+-")[:1].isdigit() else ""
    return f"{value}{beyond} cannot be trained on"


def _as_numbers(table: Table, name: str) -> HostArray:
    """Return a column as finite numbers."""
    _require_present(table, name, numeric=True)
    return _numbers(table, name)


def _as_text(table: Table, name: str, fill: str | None = None) -> list[str]:
    """Return a column as text, with `fill` where nothing is."""
    if fill is None:
        _require_present(table, name, numeric=False)
        fill = ""
    values = table.columns[name]
    if isinstance(values, list):
        return [fill if value is None else value for value in values]
    return [written(number) or fill for number in _numbers(table, name).tolist()]


def _missing(table: Table, name: str, numeric: bool) -> HostArray:
    """Return where nothing is in a column: empty cells, and among numbers NaN."""
    values = table.columns[name]
    if numeric or not isinstance(values, list):
        return np.isnan(_numbers(table, name))
    return np.array([value is None for value in values])


def _require_present(table: Table, name: str, numeric: bool, mend: str = "") -> None:
    table.refuse(_missing(table, name, numeric), name, lambda row: _unfit(table.columns[name][row]) + mend)


def count_missing(table: Table, columns: Sequence[Column]) -> int:
    """Return how many values of the described columns are missing."""
    return sum(int(_missing(table, column["name"], column["kind"] == "numeric").sum()) for column in columns)


def drop_missing(table: Table, columns: Sequence[Column]) -> Table:
    """Return the rows in which no value of the described columns is missing."""
    complete = np.ones(len(table), dtype=bool)
    for column in columns:
        complete &= ~_missing(table, column["name"], column["kind"] == "numeric")
    rows = np.flatnonzero(complete)
    if not len(rows):
        raise DataError(f"{table.path} has no row without a missing value; leave out the columns that are mostly empty")
    return table.taken(rows)


def with_fills(table: Table, columns: Sequence[Column], rows: HostArray, how: str) -> list[Column]:
    """Return column descriptions that say what missing values become.

    Parameters
    ----------
    table : Table
    columns : list of dict
        As `describe_columns` returns them.
    rows : integer array
        Those trained on: nothing else is looked at.
    how : {"mean", "median"}
        Of the column's values; of a categorical column it is the most frequent category in either case.
    """
    filled = []
    for column in columns:
        name = column["name"]
        present = rows[~_missing(table, name, column["kind"] == "numeric")[rows]]
        if not len(present):
            raise DataError(f"{table.path}, column {name!r}: no row to train on has a value; leave the column out")
        if column["kind"] == "numeric":
            numbers = _numbers(table, name)[present]
            fill: float | str = float(np.mean(numbers) if how == "mean" else np.median(numbers))
        else:
            texts = _as_text(table, name, fill="")
            counts = Counter(texts[row] for row in present)
            fill = min(counts, key=lambda text: (-counts[text], text))
        filled.append(column | {"fill": fill})
    return filled


def describe_columns(
    table: Table,
    target: str,
    ignored: Sequence[str] = (),
    categorical: Sequence[str] = (),
    *,
    allow_missing: bool = False,
) -> list[Column]:
    """Return how each input column becomes numbers: as it is, or as one column per category.

    A column is one of numbers if at least half of what it holds are numbers; other text in it is refused then.
    """
    table.require([target, *ignored, *categorical])
    columns: list[Column] = []
    for name in table.columns:
        if name == target or name in ignored:
            continue
        numeric = name not in categorical and _is_numeric(table, name)
        if not allow_missing:
            _require_present(table, name, numeric, "; train with --missing to have such values filled in or dropped")
        if numeric:
            columns.append({"name": name, "kind": "numeric"})
            continue
        categories = _categories(set(_as_text(table, name, fill="")) - {""})
        _require_few(table, name, categories, f"categories; leave the column out, with --ignore {name}")
        columns.append({"name": name, "kind": "categorical", "categories": categories})
    if not columns:
        raise DataError(f"{table.path} has no column besides {target!r} to predict it from")
    return columns


def _categories(texts: set[str]) -> list[str]:
    """Return the different categories, sorted: 1 and 1.0 are one, where all are numbers and none is a code as 007."""
    numbers = {text: _label(text) for text in texts}
    if None in numbers.values():
        return sorted(texts)
    return sorted({str(number) for number in numbers.values()})


class _Places(dict[str, int]):
    """The place of each category or class, as it is written or, where it is a number, as another may write it.

    That of anything else is -1.
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        super().__init__((str(label), place) for place, label in enumerate(labels))
        known: dict[float | None, list[int]] = {}
        for place, label in enumerate(labels):
            known.setdefault(_label(str(label)), []).append(place)
        self._numbers = {number: places[0] for number, places in known.items() if len(places) == 1}
        self._numbers.pop(None, None)

    def __missing__(self, text: str) -> int:
        place = self[text] = self._numbers.get(_label(text), -1)
        return place


def _encoded(table: Table, name: str, texts: Sequence[str], labels: Sequence[Label], kind: str) -> HostArray:
    """Return the number of each text's label."""
    places = _Places(labels)
    chosen = np.array([places[text] for text in texts])
    table.refuse(chosen < 0, name, lambda row: f"{texts[row]!r} is none of the {len(labels)} {kind} trained on")
    return chosen


def _require_few(table: Table, name: str, distinct: Sequence[Label], mend: str) -> None:
    """Refuse a column that has too many different values to tell them apart."""
    count, rows = len(distinct), len(table)
    if count <= _MOST_CATEGORIES and (count <= _FEW or 2 * count <= rows):
        return
    kind = "texts" if isinstance(distinct[0], str) else "numbers"
    told = f"{table.path}, column {name!r}: {count} different {kind} in {rows} rows are too many {mend}"
    if kind == "texts" and 2 * sum(_is_marked_number(str(text)) for text in distinct) > count:
        told += f". Were {distinct[-1]!r} and the like without marks of thousands, commas and units, they'd be numbers"
    raise DataError(told)


def row_numbers(table: Table, columns: Sequence[Column]) -> list[str]:
    """Return the columns that look as if they numbered the rows: consecutive whole numbers, each of them once."""
    found = []
    for column in columns:
        if column["kind"] != "numeric" or len(table) <= _FEW:
            continue
        ordered = np.sort(_numbers(table, column["name"]))
        if np.array_equal(ordered, ordered[0] + np.arange(len(table))):
            found.append(column["name"])
    return found


def encode(table: Table, columns: Sequence[Column]) -> HostArray:
    """Return a table's columns as a float64 array of shape (rows, inputs)."""
    table.require(column["name"] for column in columns)
    parts = []
    for column in columns:
        name = column["name"]
        numeric, fill = column["kind"] == "numeric", column.get("fill")
        if fill is None:
            _require_present(
                table, name, numeric, "; the model was trained without --missing, which fills such values in"
            )
        if numeric:
            numbers = _numbers(table, name)
            parts.append(np.where(np.isnan(numbers), np.nan if fill is None else fill, numbers)[:, None])
            continue
        categories = column["categories"]
        chosen = _encoded(table, name, _as_text(table, name, fill), categories, "categories")
        parts.append(np.eye(len(categories))[chosen])
    return np.concatenate(parts, axis=1)


def describe_target(table: Table, target: str, task: str = "auto") -> tuple[list[Label] | None, str]:
    """Return the classes, or None for a regression, and why it is which."""
    table.require([target])
    _require_target(table, target)
    texts = dict.fromkeys(_as_text(table, target))
    spelled = all(number_of(text) is not None for text in texts)  # codes as 007 too
    most = max(2, min(_MOST_CLASSES, len(table) // 5))
    if task == "auto" and spelled and (count := len({number_of(text) for text in texts})) > most:
        _as_numbers(table, target)
        return None, f"{count} different numbers"
    if task == "regression" or (task == "auto" and not spelled and _is_numeric(table, target)):
        numbers = _as_numbers(table, target)
        if len(np.unique(numbers)) < 2:
            raise DataError(f"{table.path}, column {target!r}: the target is {numbers[0]:g} in every row")
        return None, "asked for"
    labels: list[Any] = [_label(text) for text in texts]
    text = None in labels
    distinct: list[Any] = sorted(texts) if text else sorted(set(labels))
    whole = all(isinstance(label, int) for label in distinct) or text
    if task == "auto" and not whole and len(distinct) > 1:
        _as_numbers(table, target)
        return None, f"{len(distinct)} different numbers"
    if len(table) < 2:
        raise DataError(f"{table.path} has a single row: there is nothing to tell apart")
    if len(distinct) < 2:
        raise DataError(f"{table.path}, column {target!r}: there is a single class, {distinct[0]!r}")
    _require_few(table, target, distinct, "classes" if text else "classes; --task regression predicts numbers")
    kind = "texts" if text else "whole numbers" if whole else "numbers"
    told = f"{len(distinct)} different {kind}"
    return distinct, told if task == "auto" else f"asked for; {told}"


def _require_target(table: Table, target: str) -> None:
    """Refuse a target that is missing in a row, or a number that is infinite."""
    values = table.columns[target]
    if isinstance(values, list):
        numbers = sum(number_of(value) is not None for value in values)
        marks = {"nan"} if 2 * numbers >= len(values) else set()
        missing = np.array([value is None or value.lower() in marks for value in values])
        if numbers == len(values):
            infinite = [number_of(value) in (math.inf, -math.inf) for value in values]
            table.refuse(infinite, target, lambda row: f"{values[row]} cannot be trained on")
    else:
        missing = np.isnan(_numbers(table, target))
    table.refuse(missing, target, lambda _: "the target is missing")


def encode_target(table: Table, target: str, classes: Sequence[Label] | None) -> HostArray:
    """Return class numbers of shape (rows,), or numbers of shape (rows, 1)."""
    table.require([target])
    if classes is None:
        return _as_numbers(table, target)[:, None]
    return _encoded(table, target, _as_text(table, target), classes, "classes")


def encode_weights(table: Table, name: str) -> HostArray:
    """Return a column as numbers that are not negative, of shape (rows,)."""
    table.require([name])
    weights = _as_numbers(table, name)
    table.refuse(weights < 0, name, lambda row: f"{weights[row]:g} is no weight: those are not negative")
    return weights
