"""What is looked at while nodes are made, and where the code that runs stands.

Traces, watches, departures, observers, name scopes and random streams belong to a context of `contextvars`, and so
does the backend that is chosen (`graphdiff.backend`): a thread begins with none of them, and an asyncio task with those
of its maker. Serial numbers and the counters of moves and switches are of the whole process.
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any


def _let_graphs_grow() -> None:
    """Make Python's garbage collector look at young objects less often, unless the user has set it already.

    A graph is a great many small objects that live as long as each other. With the interpreter's default of 700 or
    2,000 new objects between two looks, a chain of a million nodes spends two thirds of its time in the collector.
    """
    young, middle, old = gc.get_threshold()
    if 0 < young <= 2_000:
        gc.set_threshold(50_000, max(middle, 100), old)


_let_graphs_grow()

if TYPE_CHECKING:
    from graphdiff.typing import Attributes

NO_ATTRIBUTES: Attributes = {}
next_serial = itertools.count(1).__next__
MOVES = [0]
"""Counts how often arrays of pinned variables were moved; plans that hold on to them look here."""
SWITCHES = [0]
"""Counts the changes of settings; compiled functions that have used some look here: see `graphdiff.tensor.settings`."""


class Opened(dict[Any, Any]):
    """What of one sort is open in any context. Mostly nothing, and that is a quick look; else `here` is asked.

    Each is under a key of its own, so that threads can open and close beside each other. What a context has inherited
    may have been closed since by the one that opened it: only what still has its key counts.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._seen: ContextVar[tuple[object, ...]] = ContextVar(f"graphdiff_{name}", default=())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._keep_own)

    def here(self) -> tuple[Any, ...]:
        """Return what is open in this context, innermost last."""
        return tuple(item for key in self._seen.get() if (item := self.get(key)) is not None) if self else ()

    def open(self, item: object) -> None:
        """Let this context see `item` until it is closed."""
        key = object()
        self[key] = item
        self._seen.set((*self._seen.get(), key))

    def close(self, item: object) -> None:
        """Close what was opened last of `item`: in this context or, as generators may have it, in another."""
        seen = self._seen.get()
        if seen and self.get(seen[-1]) is item:  # as blocks have it
            del self[seen[-1]]
            self._seen.set(seen[:-1])
            return
        keys = [key for key in seen if self.get(key) is item] or [key for key in list(self) if self.get(key) is item]
        self.pop(keys[-1], None)
        self._seen.set(tuple(key for key in seen if key is not keys[-1]))

    def hide(self) -> tuple[object, ...]:
        """Let this context see nothing, and return what `show` takes to undo that."""
        hidden = self._seen.get()
        self._seen.set(())
        return hidden

    def show(self, hidden: tuple[object, ...]) -> None:
        """Undo `hide`."""
        self._seen.set(hidden)

    def _keep_own(self) -> None:
        """Forget, in a forked process, what is open in threads that it has not."""
        for key in set(self).difference(self._seen.get()):
            del self[key]


TRACES = Opened("traces")
"""The functions being traced by `graphdiff.compile`: see `current_trace`."""
WATCHES = Opened("watches")
"""The watches of `graphdiff.watch` that are open."""
OBSERVERS = Opened("observers")
"""Functions that are told of every call of a module: ``observer(module, input, output)``."""
DEPARTURES = Opened("departures")
"""What takes up which recorded tensors' values are read as plain numbers or arrays."""


def current_trace() -> Any:
    """Return the innermost trace of this context, or None. While there is one, variables have no value here.

    Where speed counts, look first whether `TRACES` is empty, as it mostly is.
    """
    if not TRACES:
        return None
    found = TRACES.here()
    return found[-1] if found else None


class untraced:
    """Compute at once within the block, in a function under trace too: for what is made once, such as parameters."""

    __slots__ = ("_hidden",)

    def __enter__(self) -> None:
        self._hidden = TRACES.hide()

    def __exit__(self, *exception: object) -> None:
        TRACES.show(self._hidden)


# Name scopes -------------------------------------------------------------------------------------------------------

_SCOPE: ContextVar[str] = ContextVar("graphdiff_scope", default="")
current_scope = _SCOPE.get
"""Returns the scope that new nodes get, in 20 ns."""


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
        self._outer = current_scope()
        path = f"{self._outer}/{self.name}" if self._outer else self.name
        _SCOPE.set(path)
        return path

    def __exit__(self, *exception: object) -> None:
        _SCOPE.set(self._outer)


# Random streams ----------------------------------------------------------------------------------------------------


class NumberedStreams:
    """The streams of random numbers that are made without a seed: of one base, and numbered.

    Parameters
    ----------
    base : int
        The seed.
    path : tuple of int
        Tells apart the streams of threads that have not been given a seed: numbers from 1.
    """

    def __init__(self, base: int, path: tuple[int, ...] = ()) -> None:
        self.thread = threading.get_ident()
        self._base, self._path = base, path
        self._numbers, self._children = itertools.count(), itertools.count(1)

    def next(self) -> tuple[int, ...]:
        """Return the seed of the next stream."""
        return (self._base, next(self._numbers), *self._path)

    def child(self) -> NumberedStreams:
        """Return streams that differ from these, for another thread."""
        return NumberedStreams(self._base, (*self._path, next(self._children)))


_STREAMS: ContextVar[NumberedStreams | None] = ContextVar("graphdiff_streams", default=None)
_FIRST = NumberedStreams(0)
"""The main thread's streams until it is given a seed."""
_PARENT = [NumberedStreams(0)]
"""What threads that are not given a seed take their streams from; its own streams nobody draws from."""


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def seed_streams(number: int) -> None:
    """Begin anew with the streams of this context; if it is of the main thread, with those of later threads too."""
    _STREAMS.set(NumberedStreams(number))
    if _is_main():
        _PARENT[0] = NumberedStreams(number)


def numbered_streams() -> NumberedStreams:
    """Return the streams of this context, which it shares with no other thread."""
    found = _STREAMS.get()
    if found is None and _is_main():
        return _FIRST
    if found is None or found.thread != threading.get_ident():
        found = (found or _PARENT[0]).child()
        _STREAMS.set(found)
    return found
