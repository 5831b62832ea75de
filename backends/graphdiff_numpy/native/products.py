"""Matrix products as C: register tiles of vectors, whichever axis lies densest, and dot products of long rows.

A tile holds some rows and some vectors of columns of the result in registers, and goes once over what is summed. Its
text is written out for the sizes and strides of one product, so that a compiler has nothing left to decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graphdiff.plan.lowering.expressions import TYPES

if TYPE_CHECKING:
    from graphdiff.typing import DType

__all__ = ["Matrix", "Multiplication", "lane_sums"]

FOUR = 4
"""Columns that a tile of dot products has."""
FLAT = 4
"""Matrices of so few rows are packed all rows at once, which vectors do."""


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory: a pointer as C, and how far the next row and the next column are.

    Attributes
    ----------
    padded : bool
        Whether there is room behind what lies dense, up to where the next row or column begins.
    """

    pointer: str
    row: int
    column: int
    padded: bool = False

    @property
    def T(self) -> Matrix:
        """The matrix turned."""
        return replace(self, row=self.column, column=self.row)


class Multiplication:
    """out = x @ y, of sizes that are known.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.
    width : int
        Bytes of a vector.

    Attributes
    ----------
    scratch : int
        How many elements the product that was written last needs besides.
    """

    def __init__(self, dtype: DType, width: int) -> None:
        self.kind = TYPES[dtype.name]
        self.lanes = width // dtype.itemsize
        # As many rows as leave registers for a row of y and a number of x.
        self.rows = {4: 6, 3: 8, 2: 8, 1: 8} if width == 64 else {4: 2, 3: 4, 2: 4, 1: 8}
        self.scratch = 0

    def vector(self, lanes: int) -> str:
        return f"{self.kind}{lanes}"

    def write(self, rows: int, columns: int, inner: int, x: Matrix, y: Matrix, out: Matrix) -> list[str]:
        """Return the lines that compute a product; memory besides is named scratch."""
        self.scratch = 0
        if out.column != 1 or columns == 1:
            rows, columns, x, y, out = columns, rows, y.T, x.T, out.T
        if out.column != 1:  # a vector that lies apart
            return self.plain(rows, columns, inner, x, y, out)
        lanes = self.lanes
        if (
            lanes >= 4
            and x.column == 1
            and y.row == 1
            and y.column != 1
            and inner >= 2 * lanes
            and rows * columns >= 16
        ):
            return self.dots(rows, columns, inner, x, y, out)
        if columns < lanes and rows >= 2 * lanes and x.row == 1:
            # Few columns: the other way round, and turned.
            self.scratch = rows * columns
            turned = self.tiles(columns, rows, inner, y.T, x.T, Matrix("scratch", rows, 1))
            store = f"{out.pointer}[m * {out.row} + n] = scratch[n * {rows} + m];"
            return [*turned, f"for (Count m = 0; m < {rows}; ++m) for (Count n = 0; n < {columns}; ++n) {store}"]
        packed: list[str] = []
        if y.column != 1 and columns > 1:
            if y.row == 1 and lanes >= FOUR and inner >= lanes and rows < columns and rows * columns >= 16:
                # The smaller one is packed so that both lie dense along what is summed.
                self.scratch = rows * inner
                return self.packed(x, rows, inner, inner) + self.dots(
                    rows, columns, inner, Matrix("scratch", inner, 1), y, out
                )
            row = self.whole(columns) if columns > lanes else columns
            self.scratch = inner * row
            packed, y = self.packed(y, inner, columns, row), Matrix("scratch", row, 1, row > columns)
        return packed + self.tiles(rows, columns, inner, x, y, out)

    def whole(self, columns: int) -> int:
        """Return so many columns made up to whole vectors."""
        return -(-columns // self.lanes) * self.lanes

    @staticmethod
    def packed(matrix: Matrix, rows: int, columns: int, row: int) -> list[str]:
        """Copy a matrix into scratch memory, by rows."""
        load = f"scratch[{{k}} * {row} + n] = {matrix.pointer}[{{k}} * {matrix.row} + n * {matrix.column}];"
        each = f"for (Count n = 0; n < {columns}; ++n) "
        if rows <= FLAT:
            return [f"{each}{{ {' '.join(load.format(k=k) for k in range(rows))} }}"]
        return [f"for (Count k = 0; k < {rows}; ++k) {each}{load.format(k='k')}"]

    def plain(self, rows: int, columns: int, inner: int, x: Matrix, y: Matrix, out: Matrix) -> list[str]:
        """One number after the other."""
        left, right = f"{x.pointer}[m * {x.row} + k * {x.column}]", f"{y.pointer}[k * {y.row} + n * {y.column}]"
        return [
            f"for (Count m = 0; m < {rows}; ++m) for (Count n = 0; n < {columns}; ++n) {{",
            f"{self.kind} total = 0;",
            "#pragma omp simd reduction(+:total)",
            f"for (Count k = 0; k < {inner}; ++k) total += {left} * {right};",
            f"{out.pointer}[m * {out.row} + n * {out.column}] = total;",
            "}",
        ]

    def tiles(self, rows: int, columns: int, inner: int, x: Matrix, y: Matrix, out: Matrix) -> list[str]:
        """Cover the result by tiles: whole vectors of columns first, then halves, quarters, single ones."""
        if out.padded and y.padded and min(out.row, y.row) >= self.whole(columns):
            columns = self.whole(columns)  # what is computed into the room behind a row is read by nobody
        lines: list[str] = []
        column = 0
        while column < columns:
            left = columns - column
            lanes = self.lanes
            while lanes > left:
                lanes //= 2
            many = left // lanes if lanes == self.lanes else 1
            # Three at a time, and where one would be left over, four or twice two.
            vectors = min(many, 3 if many % 3 == 0 or many % 3 == 2 else 4 if self.rows[4] > 4 else 2)
            width = vectors * lanes
            height = self.rows[vectors]
            end = column + (left // width * width if vectors == 3 and many % 3 == 0 else width)
            place = str(column) if end == column + width else "n"
            strip: list[str] = []
            for m, rows_of_strip in _strips("m", rows, height):
                inside = self.tile(rows_of_strip, vectors, lanes, m, place, inner, x, y, out)
                strip += _striped(m, rows, height, inside)
            if place == "n":
                strip = [f"for (Count n = {column}; n < {end}; n += {width}) {{", *strip, "}"]
            lines += strip
            column = end
        return lines

    def tile(
        self,
        height: int,
        vectors: int,
        lanes: int,
        row: str,
        column: str,
        inner: int,
        x: Matrix,
        y: Matrix,
        out: Matrix,
    ) -> list[str]:
        """A few rows of a few vectors, in registers."""
        kind = self.vector(lanes)
        each = [(i, j) for i in range(height) for j in range(vectors)]
        load = " ".join(f"const {kind} y{j} = *(const {kind} *)(y + {j * lanes});" for j in range(vectors))
        lines = [
            " ".join(f"{kind} t{i}_{j} = {{0}};" if lanes > 1 else f"{kind} t{i}_{j} = 0;" for i, j in each),
            f"const {self.kind} *x = {x.pointer} + {row} * {x.row}, *y = {y.pointer} + {column};",
            f"for (Count k = 0; k < {inner}; ++k, x += {x.column}, y += {y.row}) {{",
            load,
        ]
        for i in range(height):
            products = " ".join(f"t{i}_{j} += s * y{j};" for j in range(vectors))
            lines.append(f"{{ const {self.kind} s = x[{i * x.row}]; {products} }}")
        lines.append("}")
        for i, j in each:
            place = f"{out.pointer} + ({row} + {i}) * {out.row} + {column} + {j * lanes}"
            lines.append(f"*({kind} *)({place}) = t{i}_{j};")
        return lines

    def dots(self, rows: int, columns: int, inner: int, x: Matrix, y: Matrix, out: Matrix) -> list[str]:
        """Products of rows that lie dense with columns that do: as many at a time as a vector has lanes."""
        high = self.lanes // FOUR
        lines: list[str] = []
        for m, height in _strips("m", rows, high):
            for n, width in _strips("n", columns, FOUR):
                inside = self.dot_tile(height, width, m, n, inner, x, y, out)
                lines += _striped(m, rows, high, _striped(n, columns, FOUR, inside))
        return lines

    def dot_tile(
        self, height: int, width: int, row: str, column: str, inner: int, x: Matrix, y: Matrix, out: Matrix
    ) -> list[str]:
        """A few rows by at most four columns: a vector for each, whose lanes are summed all together at the end."""
        kind, lanes = self.vector(self.lanes), self.lanes
        whole = inner // lanes * lanes
        lines = [
            f"const {self.kind} *x = {x.pointer} + {row} * {x.row}, *y = {y.pointer} + {column} * {y.column};",
            " ".join(f"{kind} t{place} = {{0}};" for place in range(lanes)),
            f"for (Count k = 0; k < {whole}; k += {lanes}) {{",
            *self.turn("k", "", height, width, x, y),
            "}",
        ]
        if whole < inner:
            # The last vector reaches back to what is summed already, which counts as 0 times 0.
            last = [int(lane >= lanes - (inner - whole)) * -1 for lane in range(lanes)]
            mask = f"const {kind}_bits last = {{{', '.join(map(str, last))}}};"
            lines += ["{", mask, *self.turn(str(inner - lanes), "last", height, width, x, y), "}"]
        lines.append(f"const {kind} r = sums_{kind}({', '.join(f't{place}' for place in range(lanes))});")
        for i in range(height):
            place = f"{out.pointer} + ({row} + {i}) * {out.row} + {column}"
            four = ", ".join(f"r[{i * FOUR + j}]" for j in range(width))
            if width == FOUR:
                lines.append(f"*({self.vector(FOUR)} *)({place}) = ({self.vector(FOUR)}){{{four}}};")
            else:
                lines += [f"({place})[{j}] = r[{i * FOUR + j}];" for j in range(width)]
        return lines

    def turn(self, k: str, mask: str, height: int, width: int, x: Matrix, y: Matrix) -> list[str]:
        """Add the products of a vector of each row with one of each column."""
        kind = self.vector(self.lanes)

        def loaded(name: str, place: int) -> str:
            text = f"*(const {kind} *)({name} + {place} + {k})"
            return f"({kind})(*(const {kind}_bits *)({name} + {place} + {k}) & {mask})" if mask else text

        lines = [f"const {kind} y{j} = {loaded('y', j * y.column)};" for j in range(width)]
        for i in range(height):
            products = " ".join(f"t{i * FOUR + j} += s * y{j};" for j in range(width))
            lines.append(f"{{ const {kind} s = {loaded('x', i * x.row)}; {products} }}")
        return lines


def lane_sums(kind: str, lanes: int) -> str:
    """Return a C function of as many vectors as each has lanes: the vector of their sums.

    Every stage halves how many there are: it adds the halves of the blocks of two vectors, side by side.
    """
    # Which sums the blocks of each vector belong to. What is summed last lies where it belongs, if it begins in the
    # right order.
    groups = [[place] for place in range(lanes)]
    stages = []
    width = lanes
    while width > 1:
        width //= 2
        blocks = lanes // (2 * width)
        low = [index for t in range(blocks) for base in (0, lanes) for index in _run(base + 2 * t * width, width)]
        high = [index + width for index in low]
        stages.append((len(groups) // 2, low, high))
        groups = [
            [sum_of for pair in zip(groups[2 * at], groups[2 * at + 1], strict=True) for sum_of in pair]
            for at in range(len(groups) // 2)
        ]
    (order,) = groups
    names, lines = [f"t{order.index(place)}" for place in range(lanes)], list[str]()
    for stage, (count, low, high) in enumerate(stages):
        made = [f"s{stage}_{at}" for at in range(count)]
        for at, name in enumerate(made):
            pair = f"{names[2 * at]}, {names[2 * at + 1]}"
            halves = [f"SHUFFLE({kind}{lanes}, {pair}, {_listed(each)})" for each in (low, high)]
            lines.append(f"const {kind}{lanes} {name} = {' + '.join(halves)};")
        names = made
    given = ", ".join(f"{kind}{lanes} t{place}" for place in range(lanes))
    head = f"INLINE {kind}{lanes} sums_{kind}{lanes}({given}) {{"
    return "\n    ".join([head, *lines, f"return {names[0]};"]) + "\n}"


def _run(first: int, length: int) -> range:
    return range(first, first + length)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _strips(name: str, length: int, size: int) -> list[tuple[str, int]]:
    """Return where strips of an axis begin, and how wide they are: whole ones by a loop's variable, then the rest."""
    whole = length // size * size
    return [*([(name, size)] if whole else []), *([(str(whole), length - whole)] if whole < length else [])]


def _striped(place: str, length: int, size: int, lines: list[str]) -> list[str]:
    """Return lines for every strip that begins at a place, which is a number or a loop's variable."""
    if place.isdigit():
        return ["{", *lines, "}"]
    return [f"for (Count {place} = 0; {place} < {length // size * size}; {place} += {size}) {{", *lines, "}"]
