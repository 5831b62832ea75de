"""What is looked at while nodes are made: serial numbers, name scopes, traces, watches and switches."""

from __future__ import annotations

import gc
import itertools
from typing import Any


def _let_graphs_grow() -> None:
    """Make Python's garbage collector look at young objects less often, unless the user has set it already.

    A graph is a great many small objects that live as long as each other. With the interpreter's default of 700 or
    2,000 new objects between two looks, a chain of a million nodes spends two thirds of its time in the collector.
    """
    young, middle, old = gc.get_threshold()
    if 0 < young <= 2_000:
        gc.set_threshold(50_000, max(middle, 100), old)


_let_graphs_grow()

NO_ATTRIBUTES: dict[str, Any] = {}
next_serial = itertools.count(1).__next__
SCOPES: list[str] = [""]
TRACES: list[Any] = []
"""The functions being traced by `graphdiff.compile`, innermost last. While there is one, variables have no value."""
WATCHES: list[Any] = []
"""The watches of `graphdiff.watch` that are open, and told of every value, adjoint and tangent."""
MOVES = [0]
"""Counts how often arrays of pinned variables were moved; plans that hold on to them look here."""


class untraced:
    """Compute at once within the block, in a function under trace too: for what is made once, such as parameters."""

    __slots__ = ("_suspended",)

    def __enter__(self) -> None:
        self._suspended = TRACES[:]
        TRACES.clear()

    def __exit__(self, *exception: object) -> None:
        TRACES[:] = self._suspended


SWITCHES = [0]
"""Counts the changes of switches; compiled functions that have read one look here."""


def read_switch(owner: Any, name: str) -> Any:
    """Return an attribute that Python code branches on, and make it part of the signature of what is being traced."""
    for trace in TRACES:
        trace.switches[id(owner), name] = owner
    return getattr(owner, name)


class name_scope:
    """Give every node made within the block the scope `name`, nested scopes joined by ``/``.

    Examples
    --------
    >>> import graphdiff as gd
    >>> with gd.name_scope("layer1"):
    ...     y = gd.variable(1.0) * 2.0
    >>> y.scope
    'layer1'
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        outer = SCOPES[-1]
        SCOPES.append(f"{outer}/{self.name}" if outer else self.name)
        return SCOPES[-1]

    def __exit__(self, *exception: object) -> None:
        SCOPES.pop()
