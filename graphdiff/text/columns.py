"""How wide text is in a terminal, and text made to fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["WIDEST", "clean", "fit", "shape_text", "table_width", "text_width"]

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


def table_width(columns: Iterable[Iterable[str]]) -> int:
    """Return how many columns of a terminal a table takes whose cells, of one or several lines, are these."""
    return sum(2 + max(text_width(line) for cell in cells for line in cell.split("\n")) for cells in columns) - 2
