"""Text in, graph out; and the text that a program was written in."""

from graphdiff.expression.parse import parse

__all__ = ["parse"]
