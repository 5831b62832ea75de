"""Tables in files: CSV, Parquet, NPZ."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import io
import itertools
import os
import re
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from graphdiff.errors import DataError
from graphdiff.files.reading import reading, require_inflated
from graphdiff.host import HostArray

if TYPE_CHECKING:
    from _csv import Reader

    from pyarrow import ChunkedArray, DataType

__all__ = ["MISSING", "Table", "Values", "number_of", "read_table", "written"]

Values: TypeAlias = "HostArray | list[str | None]"
"""A column: numbers, or text with None where nothing is."""

MISSING = frozenset({"na", "n/a", "#n/a", "null", "none", "nan", "?", "-"})
"""What stands for a missing number, besides an empty cell; among texts they are texts."""
_NUMBER = re.compile(r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
"""What is a number: Python takes 1_234 and the digits of all scripts too, which in a table are codes and texts."""
_PLAIN = frozenset("0123456789+-.eE \t\r\n")
"""Of these characters, what Python takes for a number is one."""
_SEPARATORS = ",;\t|"
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(,\d{3})*\s*", re.ASCII)
_TOLD_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_NAMELESS = re.compile(r"|__index_level_\d+__|Unnamed: \d+(_level_\d+)?")
"""What a column is called that has no name, such as the index of a pandas.DataFrame that was written along."""
_BLOCK_ROWS, _BLOCK_CELLS = 8192, 1 << 18
"""So many rows or cells of a CSV are lists of Python's at any time."""
_WIDEST = 64
"""Cells of more characters are read as numbers one by one."""
_HEAD_LINES, _HEAD_SIZE = 40, 1 << 20
"""So many lines or characters are looked at to see what separates the values."""
_CELL_END = "\n"
_OTHER_KINDS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook: save the sheet as CSV, or name arrays of NumPy's .npz"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook: save the sheet as CSV"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first, with gunzip"),
    (b"BZh", "compressed by bzip2: unpack it first, with bunzip2"),
    (b"\xfd7zXZ", "compressed by xz: unpack it first, with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard: unpack it first, with unzstd"),
    (b"PAR1", "Parquet: name it .parquet"),
    (b"\x93NUMPY", "an array of NumPy's without names of columns: save it by numpy.savez as .npz"),
    (b"\x89HDF", "HDF5: save the table as CSV or Parquet"),
    (b"SQLite format 3", "a database of SQLite: save the table as CSV"),
    (b"%PDF", "a PDF: save the table as CSV"),
)
"""What other files begin with, and what to do about them."""


def number_of(text: str | float | None) -> float | None:
    """Return the number that a cell is, or None; nan and inf are numbers, 1_000 and None are not."""
    if isinstance(text, str):
        return float(text) if _NUMBER.fullmatch(text) else None
    return None if text is None else float(text)


def written(number: float) -> str:
    """Return a number as the text that stands for it as a category: 1 of 1.0, and nothing of NaN."""
    if number != number:
        return ""
    return str(int(number)) if number == int(number) else repr(float(number))


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
    columns: dict[str, Values]
    lines: Sequence[int] | None = None
    rows: HostArray | None = None
    nameless: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def error(self, row: int, column: str, told: str) -> DataError:
        """Return an error about a place; `row` counts from 0."""
        row = row if self.rows is None else self.rows[row]
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return DataError(f"{self.path}, row {row + 1}{line}, column {column!r}: {told}")

    def refuse(self, wrong: HostArray | Sequence[bool], column: str, told: Callable[[int], str]) -> None:
        """Refuse the first row in which something is wrong: an error about it says what is told of the row."""
        for row in np.flatnonzero(wrong)[:1].tolist():
            raise self.error(row, column, told(row))

    def taken(self, rows: HostArray) -> Table:
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


def read_table(path: str | os.PathLike[str], labels: Collection[str] = ()) -> Table:
    """Read a table: .parquet and .npz by their ending, anything else as CSV with a header.

    What separates the values of a CSV, a comma, semicolon, tab or bar, is seen from its first rows, or said by a line
    ``sep=;``. Blank lines and lines that begin with # may precede the header. Where it is no comma, numbers may have a
    decimal comma. Columns without a name are left out. Compressed files may be no larger than `require_inflated`
    states.

    Parameters
    ----------
    path : path
    labels : collection of str
        These columns are kept as text, such as it is written: 7 and 007 are different labels.

    Raises
    ------
    DataError
        No such file, no rows, rows of different length, or a file of another kind or damaged.
    """
    path = Path(path)
    read, told = _READERS.get(path.suffix.lower(), (_read_csv, "CSV"))
    with reading(path, told):
        table = read(path, frozenset(labels))
    if not table.columns or not len(table):
        raise DataError(f"{path} has no rows")
    return table


def _read_csv(path: Path, labels: Collection[str]) -> Table:
    with open(path, "rb") as raw:
        encoding = _encoding(path, raw.peek(4096))
        with io.TextIOWrapper(raw, encoding, newline="") as stream:
            try:
                return _parsed_csv(path, stream, labels)
            except UnicodeDecodeError as error:
                # A pipe cannot be read from its beginning again.
                line = f": line {_undecodable(path)} is not" if encoding == "utf-8-sig" and path.is_file() else ""
                raise DataError(
                    f"{path} is no CSV in {encoding.removesuffix('-sig').upper()}{line}: {error.reason}; save it as "
                    "UTF-8, for example with iconv -f latin1 -t utf8"
                ) from error


def _encoding(path: Path, beginning: bytes) -> str:
    """Return what a CSV is encoded by, which a mark at its beginning tells; refuse files of other kinds."""
    for mark, told in _OTHER_KINDS:
        if beginning.startswith(mark):
            raise DataError(f"{path} is no CSV but {told}")
    for encoding in ("utf-16-le", "utf-16-be"):
        start = beginning[: len(beginning) // 2 * 2]
        text = start.decode(encoding, "ignore")
        if len(text) > 1 and text[0] == "\ufeff" and text[1] != "\0":
            return "utf-16"
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(beginning).lstrip()
    except UnicodeDecodeError:
        return "utf-8-sig"  # whose errors name the line
    if text[:1] == "{" or re.match(r"\[\s*[\[{]", text):
        raise DataError(f"{path} is no CSV but JSON: make a table of it, such as by pandas.read_json and to_csv")
    if "\0" in text:
        raise DataError(f"{path} is no CSV: it has bytes of zero, as text in UTF-16 without a byte-order mark")
    return "utf-8-sig"


def _parsed_csv(path: Path, stream: Iterable[str], labels: Collection[str]) -> Table:
    stream = iter(stream)
    skipped, head = _before_header(stream)
    separator = _TOLD_SEPARATOR.fullmatch(head[0]) if head else None
    if separator:
        head, skipped = head[1:], skipped + 1
    delimiter = separator[1] if separator else _separator(head)
    reader = csv.reader(itertools.chain(head, stream), delimiter=delimiter)
    try:
        header = next(reader, None)
        if header is None:
            raise DataError(f"{path} is empty")
        names = [name.strip() for name in header]
        repeated = [name for name, count in Counter(names).items() if name and count > 1]
        if repeated:
            raise DataError(f"{path} has several columns {min(repeated)!r}")
        cells, lines = _cells(path, reader, len(names), skipped)
    except csv.Error as error:
        raise DataError(f"{path}, line {skipped + reader.line_num}, is no CSV: {error}") from error
    if not lines:
        raise DataError(f"{path} has no rows below its header")
    columns, nameless = {}, 0
    for place, name in enumerate(names):
        if _NAMELESS.fullmatch(name):
            nameless += 1
        else:
            columns[name] = _parsed(cells[place], delimiter != ",", name in labels)
        cells[place] = _Cells()  # so that its text goes as soon as it has been parsed
    return Table(path, columns, lines, nameless=nameless)


def _before_header(stream: Iterator[str]) -> tuple[int, list[str]]:
    """Return how many lines precede the header, and the lines from there on that are looked at."""
    skipped, remark, head = 0, "", []
    for line in stream:
        if not line.strip() or line.startswith("#"):
            skipped, remark = skipped + 1, line.lstrip("# ") if line.strip() else ""
            continue
        head.append(line)
        break
    size = 0
    while head and len(head) < _HEAD_LINES and size < _HEAD_SIZE and (line := next(stream, "")):
        head.append(line)
        size += len(line)
    if head and remark.strip() and _is_header(remark, head):
        return skipped - 1, [remark, *head]
    return skipped, head


def _is_header(remark: str, head: list[str]) -> bool:
    """Whether a remark names the columns, as numpy.savetxt writes it: what follows has as many values and a number."""
    separator = _separator([remark, *head])
    try:
        names, values = itertools.islice(csv.reader([remark, head[0]], delimiter=separator), 2)
    except (csv.Error, ValueError):
        return False
    alike = len(names) == len(values)
    return alike and any(number_of(value) is not None for value in values) and not any(map(number_of, names))


def _cells(path: Path, reader: Reader, count: int, skipped: int) -> tuple[list[_Cells], Sequence[int]]:
    """Return the text of all columns, and which line each row ends on."""
    cells = [_Cells() for _ in range(count)]
    lines = array("q")
    block: list[list[str]] = []
    most = max(1, min(_BLOCK_ROWS, _BLOCK_CELLS // max(count, 1)))
    for row in reader:
        if not row:
            continue
        line = skipped + reader.line_num
        if len(row) != count:
            raise DataError(f"{path}, row {len(lines) + 1} (line {line}): {len(row)} values for {count} columns")
        block.append(row)
        lines.append(line)
        if len(block) == most:
            _append(cells, block)
    _append(cells, block)
    return cells, lines


class _Cells:
    """The text of a column, as one string for each block of rows: a string for each cell takes ten times the memory."""

    __slots__ = ("_blocks",)

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


def _separator(head: Sequence[str]) -> str:
    """Return what separates the values: what cuts most rows into as many as the header, and most of these numbers."""
    found = {separator: _regularity(head, separator) for separator in _SEPARATORS}
    return max(_SEPARATORS, key=lambda separator: found[separator])


def _regularity(head: Sequence[str], separator: str) -> tuple[float, float, int]:
    """Return shares of rows of the header's length and of numbers among their cells, and that length."""
    rows: list[list[str]] = []
    try:
        rows.extend(row for row in csv.reader(head, delimiter=separator) if row)
    except csv.Error:
        return 0.0, 0.0, 0  # without separators, a line may be too long for a cell
    if not rows or len(rows[0]) < 2:
        return 0.0, 0.0, 0
    like = [row for row in rows[1:] if len(row) == len(rows[0])]
    cells = [cell.strip() for row in like for cell in row]
    numbers = sum(bool(_NUMBER.fullmatch(cell) or _DECIMAL_COMMA.fullmatch(cell)) for cell in cells)
    return len(like) / max(1, len(rows) - 1), numbers / max(1, len(cells)), len(rows[0])


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is no UTF-8: the decoder counts bytes, from where it last read on."""
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _parsed(column: _Cells, decimal_comma: bool, label: bool) -> Values:
    """Return numbers if all are and they are no labels, else the text."""
    commas = decimal_comma and _has_decimal_commas(column)
    if not label:
        try:
            return np.concatenate([_as_numbers(values, commas) for values in column.blocks()])
        except ValueError:
            pass
    known: dict[str, str] = {}
    # Equal texts are kept once.
    return [known.setdefault(text, text) or None for text in _as_text(column, commas)]


def _has_decimal_commas(column: _Cells) -> bool:
    """Whether a column's commas are of decimals: where all may be of thousands, as 1,234, nobody can tell."""
    if not any("," in value for value in column):
        return False

    def present() -> Iterator[str]:
        return (value for value in column if value.strip() and value.strip().lower() not in MISSING)

    return all(map(_DECIMAL_COMMA.fullmatch, present())) and not all(map(_THOUSANDS.fullmatch, present()))


def _as_numbers(values: list[str], commas: bool) -> HostArray:
    """Return cells as numbers; ValueError where one is none, or is too large for one: its text can be told then."""
    texts = [value.replace(",", ".") for value in values] if commas else values
    plain = set("".join(texts)) <= _PLAIN
    if not plain and not all(map(_NUMBER.fullmatch, texts)):
        raise ValueError
    if max(map(len, texts)) > _WIDEST:  # an array of text has the room of its longest for each
        numbers = np.array([float(text) for text in texts])
    else:
        numbers = np.array(texts).astype("float64")
    if plain and np.isinf(numbers).any():
        raise ValueError
    return numbers


def _as_text(column: _Cells, commas: bool) -> Iterator[str]:
    return (value.replace(",", ".").strip() if commas else value.strip() for value in column)


def _read_parquet(path: Path, labels: Collection[str]) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f'{path} needs pyarrow: pip install "graphdiff[parquet]"') from error
    with parquet.ParquetFile(path) as file:
        facts = file.metadata
        declared = sum(facts.row_group(place).total_byte_size for place in range(facts.num_row_groups))
        require_inflated(path, max(declared, 8 * facts.num_rows * facts.num_columns))
        # Texts are read as numbers into a list of the different ones: a long one that is repeated is there once.
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
    with parquet.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
        read = file.read()
    names = [name for name in read.column_names if not _NAMELESS.fullmatch(name)]
    columns = {name: _from_arrow(read.column(name), path, name, name in labels) for name in names}
    return Table(path, columns, nameless=len(read.column_names) - len(names))


def _from_arrow(column: ChunkedArray, path: Path, name: str, label: bool) -> Values:
    """Return a column of Parquet as numbers or text."""
    import pyarrow

    kind, types = column.type, pyarrow.types
    if types.is_dictionary(kind) and _is_text(kind.value_type):
        return [value if value and value.strip() else None for value in _decoded(column)]
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind):
        if not label:
            return np.array(column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False))
        return [
            None if value is None else str(value) if types.is_integer(kind) else written(float(value)) or None
            for value in column.to_pylist()
        ]
    if types.is_boolean(kind):
        return [None if value is None else str(value) for value in column.to_pylist()]
    try:
        # Times as well, as a CSV has them: as objects of Python's they would need pandas.
        texts: list[str | None] = column.cast(pyarrow.string()).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}, column {name!r}: values of {kind} are neither numbers nor text") from error
    return texts


def _is_text(kind: DataType) -> bool:
    return str(kind) in ("string", "large_string", "binary")


def _decoded(column: ChunkedArray) -> Iterator[str | None]:
    """Yield the texts of a column that is numbers into lists of them."""
    import pyarrow

    for chunk in column.chunks:
        known = chunk.dictionary.cast(pyarrow.string()).to_pylist()
        for place in chunk.indices.to_pylist():
            yield None if place is None else known[place]


def _read_npz(path: Path, labels: Collection[str]) -> Table:
    columns: dict[str, Values] = {}
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        require_inflated(path, sum(entry.file_size for entry in entries))
        if _declared_entries(path) not in (len(entries), 0xFFFF):
            raise DataError(f"{path} is damaged: some of its arrays are not to be found")
    with np.load(path, allow_pickle=False) as arrays:
        size = 0
        for name in arrays.files:
            found = arrays[name]
            if not isinstance(found, np.ndarray):
                raise DataError(f"{path}, {name!r} is no array of NumPy's")
            size += 8 * found.size  # as numbers; of a text each is at least a reference
            require_inflated(path, size)
            if found.ndim not in (1, 2):
                raise DataError(f"{path}, array {name!r}: {found.ndim} axes, and not one or two")
            parts = {name: found} if found.ndim == 1 else {f"{name}.{k}": part for k, part in enumerate(found.T)}
            columns |= {part: _from_array(values, path, name, part in labels) for part, values in parts.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path} has columns of different lengths: {lengths}")
    return Table(path, columns)


def _declared_entries(path: Path) -> int:
    """Return how many entries a ZIP's last record counts, up to 65,535: damaged ones hide others."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 22))
        tail = file.read()
    start = tail.rfind(b"PK\5\6") + 10
    return int.from_bytes(tail[start : start + 2], "little")


def _from_array(values: HostArray, path: Path, name: str, label: bool) -> Values:
    if values.dtype.kind in "fiub":
        if not label:
            return values.astype("float64")
        return [str(int(value)) if values.dtype.kind in "iub" else written(value) or None for value in values.tolist()]
    if values.dtype.kind in "U":
        return [value or None for value in values.tolist()]
    raise DataError(f"{path}, array {name!r}: {values.dtype} is neither numbers nor text")


_READERS = {
    ".parquet": (_read_parquet, "Parquet"),
    ".pq": (_read_parquet, "Parquet"),
    ".npz": (_read_npz, "NPZ of numbers and text"),
}
"""What reads files of an ending, and what they are called."""
