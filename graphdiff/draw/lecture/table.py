"""Evaluation trace tables: what they hold, and how they are shown as text, HTML and LaTeX, and written to files."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from graphdiff.draw.lecture.symbols import Numbers, escape_latex
from graphdiff.draw.names import plain_name
from graphdiff.errors import GraphError
from graphdiff.tensor import Tensor
from graphdiff.text.columns import WIDEST, fit, table_width, text_width
from graphdiff.text.quoting import html_text
from graphdiff.text.tables import plain, table

__all__ = ["ENDINGS", "Row", "Trace", "document"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #bbb; --shade: #f3f5f7; --note: #555; }}
@media (prefers-color-scheme: dark) {{ :root {{ --line: #555; --shade: #22262a; --note: #b4b4b4; }} }}
body {{ font: 16px/1.45 system-ui, sans-serif; margin: 2rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .9rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
td {{ overflow-wrap: break-word; max-width: 30rem; }}
th {{ background: var(--shade); white-space: nowrap; }}
caption {{ text-align: left; padding: .7rem .9rem; color: var(--note); overflow-wrap: anywhere; }}
</style></head>
<body>{table}</body></html>
"""

_LATEX = """% Include with \\input; needs \\usepackage{{amsmath}} and \\usepackage[T1]{{fontenc}}.
{{\\renewcommand{{\\arraystretch}}{{1.4}}%
{table}}}
"""
_NARROWEST = 18
"""Columns that a cell of a text table is given at least; in a narrower terminal cells are written below each other."""


@dataclass
class Row:
    """One line of a trace table; texts as they are shown, and the arrays behind them.

    Attributes
    ----------
    name, expression, value, numeric_value : str
    local_derivatives, running_derivative : tuple of str
    stored : tuple of str
        Whose values the backward step of this row reads: they are kept until then.
    node : Tensor
    derivative : NumPy array or None
        Of this row by the input in forward mode, of the output by this row in reverse mode.
    """

    name: str
    expression: str
    local_derivatives: tuple[str, ...]
    value: str
    numeric_value: str
    running_derivative: tuple[str, ...]
    stored: tuple[str, ...]
    node: Tensor = field(repr=False)
    derivative: Numbers | None = field(repr=False)
    latex: tuple[tuple[str, ...], ...] = field(repr=False, default=())

    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Return the row's cells, each its lines."""
        return (
            (self.expression,),
            self.local_derivatives,
            (self.value,),
            (self.numeric_value,),
            self.running_derivative,
            (", ".join(self.stored),),
        )


class Trace:
    """A trace table: `str`, HTML in Jupyter, `latex()`, and `rows`.

    Attributes
    ----------
    rows : list of Row
        In the order in which they are computed.
    mode : {"forward", "reverse"}
    stored : tuple of str
        Reverse mode: every node whose value is kept for the backward pass.
    """

    def __init__(self, rows: list[Row], mode: str, derivative: tuple[str, str], stored: Mapping[Tensor, str]) -> None:
        self.rows = rows
        self.mode = mode
        self._derivative = derivative
        self.stored = tuple(stored.values())
        self.stored_bytes = sum(node.size * node.dtype.itemsize for node in stored)

    @property
    def header(self) -> tuple[str, ...]:
        """The columns' titles."""
        titles = (
            "expression",
            "local derivative",
            "value",
            "numeric value",
            f"running derivative {self._derivative[0]}",
        )
        return (*titles, "stored for it") if self.mode == "reverse" else titles

    def cells(self) -> list[tuple[tuple[str, ...], ...]]:
        """Return the cells below the header, row by row, each as its lines."""
        return [row.cells()[: len(self.header)] for row in self.rows]

    def _note(self) -> str:
        if self.mode != "reverse":
            return ""
        listed = ", ".join(self.stored) or "nothing"
        return f"stored for the backward pass: {listed} ({self.stored_bytes:,} bytes)"

    def text(self, width: int | None = None) -> str:
        """Return the table as text, broken into lines, or stacked, where it would be wider than `width` columns."""
        lines: list[str] = []
        written = [[(title,) for title in self.header], *self.cells()]
        for limit in range(WIDEST, _NARROWEST - 1, -1):
            cells = [["\n".join(_broken(line, limit) for line in cell) for cell in row] for row in written]
            if width is None or table_width(zip(*cells)) <= width:
                lines = plain(table(cells[0], cells[1:], rule="columns")).splitlines()
                break
        if width is not None and not lines:
            lines = self._stacked(width)
        if self._note():
            lines.append(fit(self._note(), 200))
        return "\n".join(lines if width is None else [fit(line, width) for line in lines])

    def _stacked(self, width: int) -> list[str]:
        """Return the lines of the table with its cells below each other, broken into lines of `width` columns."""
        titles = [fit(title, 32) for title in self.header]
        indentation = max(map(text_width, titles)) + 2
        room = max(_NARROWEST, width - indentation - 2)
        lines: list[str] = []
        for first, *cells in self.cells():
            lines.extend(first)
            for title, cell in zip(titles[1:], cells):
                pieces = [piece for line in cell for piece in textwrap.wrap(line, room, subsequent_indent="  ")]
                for position, piece in enumerate(pieces):
                    head = title if position == 0 else ""
                    lines.append(f"  {head}{' ' * (indentation - text_width(head))}{piece}")
        return lines

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return str(self)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str | int) -> Row:
        if isinstance(name, int):
            return self.rows[name]
        for row in self.rows:
            if name in (row.name, plain_name(row.name)):
                return row
        raise KeyError(f"the table has no row {name!r}; its rows are {', '.join(row.name for row in self.rows)}"[:400])

    def html(self) -> str:
        """Return the table as HTML, every text escaped."""
        left = "style='text-align:left;vertical-align:top'"  # notebooks set tables to the right
        head = "".join(f"<th scope='col' {left}>{html_text(title)}</th>" for title in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td {left}>{'<br>'.join(map(html_text, cell))}</td>" for cell in row) + "</tr>"
            for row in self.cells()
        )
        note = f"<caption style='caption-side:bottom'>{html_text(self._note())}</caption>" if self._note() else ""
        return f"<table class='graphdiff-trace'>{note}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_html_(self) -> str:
        return self.html()

    def latex(self) -> str:
        r"""Return the table as LaTeX: a `tabular` that needs `\usepackage{amsmath}` and T1 fonts."""
        titles = [escape_latex(title) for title in self.header]
        titles[4] = f"running derivative ${self._derivative[1]}$"
        lines = [rf"\begin{{tabular}}{{{'l' * len(titles)}}}", r"\hline", " & ".join(titles) + r" \\", r"\hline"]
        for row in self.rows:
            cells = []
            for cell in row.latex[: len(titles)]:
                parts = [f"${part}$" for part in cell if part]
                inner = r" \\ ".join(parts)
                cells.append(inner if len(parts) < 2 else rf"\begin{{tabular}}[t]{{@{{}}l@{{}}}}{inner}\end{{tabular}}")
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\hline", r"\end{tabular}"])

    def _repr_latex_(self) -> str:
        return self.latex()


def _broken(line: str, limit: int) -> str:
    kept = fit(line, WIDEST)
    return "\n".join(textwrap.wrap(kept, limit, subsequent_indent="  ")) if len(kept) > limit else kept


def _csv(table: Trace) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(["; ".join(lines) for lines in cells] for cells in table.cells())
    return text.getvalue()


_WRITERS: dict[str, Callable[[Trace], str]] = {
    ".html": lambda table: _PAGE.format(title=f"Trace, {table.mode} mode", table=table.html()),
    ".tex": lambda table: _LATEX.format(table=table.latex()),
    ".csv": _csv,
    ".txt": lambda table: f"{table}\n",
}
ENDINGS = tuple(_WRITERS)
"""How the names of files end that a trace table can be written to."""


def document(table: Trace, ending: str) -> str:
    """Return what a file holds that shows the table.

    Parameters
    ----------
    table : Trace
    ending : {".html", ".tex", ".csv", ".txt"}

    Raises
    ------
    GraphError
        Another ending.

    Examples
    --------
    >>> import graphdiff as gd
    >>> from graphdiff.draw.lecture.table import document
    >>> x = gd.variable(3.0, name="x")
    >>> print(document(gd.trace((x * x).named("y"), mode="forward"), ".csv"), end="")
    expression,local derivative,value,numeric value,running derivative d·/dx
    x,,,3,1
    y = x·x,∂y/∂x = x + x = 6,3·3,9,6·1 = 6
    """
    if ending.lower() not in _WRITERS:
        raise GraphError(f"a trace is written to {', '.join(ENDINGS)}, not {ending or 'a file without an ending'!r}")
    return _WRITERS[ending.lower()](table)
