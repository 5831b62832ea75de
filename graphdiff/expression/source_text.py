"""Text that is read as an expression, and errors that point at a place in it."""

from __future__ import annotations

import ast
from typing import NoReturn, TypeAlias

from graphdiff.errors import ExpressionError
from graphdiff.text.columns import text_width

__all__ = ["Part", "SourceText"]

Part: TypeAlias = ast.expr | ast.stmt

_BEFORE, _SHOWN = 30, 70
"""Of a long line so many characters before the place are shown, and in all."""


class SourceText:
    """A text and its lines, as Python's parser counts them.

    Attributes
    ----------
    text : str
    lines : list of str
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip().replace("\r\n", "\n").replace("\r", "\n")
        self.lines = self.text.split("\n")

    def place(self, node: ast.expr) -> str:
        """Return where a part of the syntax tree begins, in the form of a file's name with line and column."""
        return f"expression:{node.lineno}:{self.column(node.lineno, node.col_offset)}"

    def refuse(self, node: Part, message: str, cause: BaseException | None = None) -> NoReturn:
        """Raise the error about a part of the syntax tree."""
        end_line = node.end_lineno or node.lineno
        start, end = self.column(node.lineno, node.col_offset), self.column(end_line, node.end_col_offset or 0)
        self.point(message, node.lineno, start, end_line, end, cause)

    def column(self, line: int, offset: int) -> int:
        """Return the column, counted from 1 in characters, of the parser's offset in bytes."""
        return len(self.lines[line - 1].encode()[:offset].decode()) + 1

    def point(
        self,
        message: str,
        line: int,
        start: int,
        end_line: int | None,
        end: int | None,
        cause: BaseException | None = None,
    ) -> NoReturn:
        """Raise the error with the line and carets below the columns from `start` up to `end`."""
        whole = self.lines[line - 1] if line <= len(self.lines) else ""
        stop = end if end and end_line == line else len(whole) + 1
        first = max(0, start - 1 - _BEFORE)
        before, after = _printable(whole[first : start - 1]), _printable(whole[start - 1 : first + _SHOWN])
        marked = after[: max(1, stop - start)]
        carets = "^" * max(1, text_width(marked))
        head = f"  line {line}: {'…' if first else ''}"
        tail = "…" if len(whole) > first + _SHOWN else ""
        shown = f"{head}{before}{after}{tail}\n{' ' * text_width(head + before)}{carets}"
        raise ExpressionError(f"{message}\n{shown}", line=line, column=start) from cause


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
