"""What is looked at while nodes are made: serial numbers, name scopes, traces, watches and switches."""

from __future__ import annotations

import gc
import itertools
import threading
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
TRACES: list[Any] = []
"""The functions being traced by `graphdiff.compile`, of all threads, innermost last: see `current_trace`."""
WATCHES: list[Any] = []
"""The watches of `graphdiff.watch` that are open, of all threads: see `open_watches`."""
DEPARTURES: list[Departures] = []
"""What takes up, in any thread, which recorded tensors' values are read as plain numbers or arrays."""
MOVES = [0]
"""Counts how often arrays of pinned variables were moved; plans that hold on to them look here."""


class _Scope(threading.local):
    """The scope that new nodes get: each thread has its own."""

    def __init__(self) -> None:
        self.path = ""


SCOPE = _Scope()
OPEN_SCOPES: list[str] = []
"""The names of the scopes that are open in any thread: where there is none, none need be looked up."""
get_thread = threading.get_ident


def current_trace() -> Any:
    """Return the innermost trace of this thread, or None. While there is one, variables have no value here.

    Where speed counts, look first whether `TRACES` is empty, as it mostly is.
    """
    if not TRACES:
        return None
    here = get_thread()
    for trace in reversed(TRACES):
        if trace.thread == here:
            return trace
    return None


def open_watches() -> list[Any]:
    """Return the watches that this thread has opened."""
    if not WATCHES:
        return []
    here = get_thread()
    return [watch for watch in WATCHES if watch.thread == here]


class Departures:
    """Takes up which recorded tensors' values this thread reads as plain numbers or arrays, and on which line."""

    __slots__ = ("noted", "thread")

    def __init__(self) -> None:
        self.noted: list[tuple[Any, str, int]] = []
        self.thread = get_thread()


class untraced:
    """Compute at once within the block, in a function under trace too: for what is made once, such as parameters."""

    __slots__ = ("_suspended",)

    def __enter__(self) -> None:
        self._suspended = [trace for trace in TRACES if trace.thread == get_thread()]
        for trace in self._suspended:
            TRACES.remove(trace)

    def __exit__(self, *exception: object) -> None:
        TRACES.extend(self._suspended)


SWITCHES = [0]
"""Counts the changes of switches; compiled functions that have read one look here."""


def read_switch(owner: Any, name: str) -> Any:
    """Return an attribute that Python code branches on, and make it part of the signature of what is being traced."""
    for trace in TRACES:
        if trace.thread == get_thread():
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

    __slots__ = ("_outer", "name")

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        self._outer = SCOPE.path
        path = SCOPE.path = f"{self._outer}/{self.name}" if self._outer else self.name
        OPEN_SCOPES.append(self.name)
        return path

    def __exit__(self, *exception: object) -> None:
        SCOPE.path = self._outer
        OPEN_SCOPES.remove(self.name)
