"""Text in, graph out; and the text that a program was written in."""

from graphdiff.expression.parser import parse

__all__ = ["parse"]
