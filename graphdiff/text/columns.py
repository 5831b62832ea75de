"""Text in columns, as a terminal shows it."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

__all__ = ["WIDEST", "align", "clean", "fit", "shape_text", "text_width"]

WIDEST = 60
"""Columns that a cell of a table takes at most."""


def clean(text: str) -> str:
    """Return text on one line: characters that do not print become their escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shape_text(lengths: Sequence[int | str]) -> str:
    """Return ``3 × 4``; ``(3,)`` of a vector, since a bare 3 looks like a value; nothing of a scalar."""
    return f"({lengths[0]},)" if len(lengths) == 1 else " × ".join(map(str, lengths))


def text_width(text: str) -> int:
    """Return how many columns a terminal shows the text in."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def fit(text: str, width: int) -> str:
    """Return the text cut to a width, the cut marked."""
    if text_width(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += text_width(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def align(
    header: Sequence[str], rows: Sequence[Sequence[Sequence[str]]], limit: int = WIDEST, wrap: bool = False
) -> str:
    """Return a table of cells of several lines as text, columns aligned, longer lines cut or wrapped to `limit`."""

    def lines_of(text: str) -> list[str]:
        kept = fit(text, WIDEST if wrap else limit)
        return (textwrap.wrap(kept, limit, subsequent_indent="  ") or [""]) if wrap else [kept]

    table = [[[title] for title in header], *rows]
    cells = [[[piece for line in cell for piece in lines_of(line)] for cell in row] for row in table]
    widths = [max([0, *(text_width(line) for row in cells for line in row[column])]) for column in range(len(header))]
    made = []
    for row in cells:
        for position in range(max(1, *(len(cell) for cell in row))):
            parts = [cell[position] if position < len(cell) else "" for cell in row]
            padded = [part + " " * (width - text_width(part)) for part, width in zip(parts, widths, strict=True)]
            made.append("  ".join(padded).rstrip())
        if row is cells[0]:
            made.append("  ".join("─" * width for width in widths))
    return "\n".join(made)
