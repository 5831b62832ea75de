"""Tables of text: one look for all, laid out by rich, which is imported where the first one is made.

A report has a method ``__rich__`` that returns a `table`, for terminals that rich writes to, and a method ``__str__``
that returns `plain` of it: the same without colours, whose width depends on nothing but what is in it.
"""

from __future__ import annotations

import io
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["plain", "table"]

_UNLIMITED = 10_000


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    caption: str = "",
    right: Container[int] = (),
    wrap: Container[int] = (),
    bold: Container[int] = (),
    totals: Sequence[str] = (),
    rule: Literal["across", "columns", "none"] = "across",
) -> RenderableType:
    """Return a table that rich can print.

    Parameters
    ----------
    headings : sequence of str
    rows : iterable of sequence of str
        Cells, as they are shown: numbers with their units, lines parted by line feeds.
    title, caption : str
        Lines above and below.
    right : container of int
        Places of columns that are aligned on the right, as numbers are.
    wrap : container of int
        Places of columns that are broken into lines where there is little room.
    bold : container of int
        Places of rows to stand out in a terminal.
    totals : sequence of str
        A last row, below a rule.
    rule : {"across", "columns", "none"}
        Below the headings: one line, one over every column, or none.

    Examples
    --------
    >>> print(plain(table(["op", "µs"], [["sin", "12"], ["add", "3"]], title="Times", right=[1])))
    Times
    op   µs
    ────────
    sin  12
    add   3
    """
    from rich import box
    from rich.console import Group
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    if rule == "across":
        edges = box.SIMPLE if totals else box.SIMPLE_HEAD
        made = Table(box=edges, padding=(0, 1, 0, 0), show_edge=False, show_footer=bool(totals))
    else:
        made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for place, heading in enumerate(headings):
        footer = Text(totals[place]) if totals else ""
        side: Literal["left", "right"] = "right" if place in right else "left"
        made.add_column(Text(heading), footer, justify=side, no_wrap=place not in wrap, overflow="fold")
    if rule != "across":
        made.add_row(*map(Text, headings), style="bold")
    if rule == "columns":
        made.add_row(*[Rule(style="none") for _ in headings])
    for place, cells in enumerate(rows):
        made.add_row(*map(Text, cells), style="bold" if place in bold else None)
    parts: list[RenderableType] = [Text(title), made, Text(caption)]
    return Group(*[part for part in parts if part])


def plain(shown: RenderableType, width: int = _UNLIMITED) -> str:
    """Return what rich can print as lines of text without colours, at most so wide."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_jupyter=False, legacy_windows=False)
    console.print(shown)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))
