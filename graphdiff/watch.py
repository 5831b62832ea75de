"""Watching a graph being evaluated and differentiated: one mechanism, and the watches that people ask for.

A watch is a context manager that is told of every value, adjoint and tangent while it is open. Compiled functions run
eagerly meanwhile, so that there are nodes to be told of. Closed, it costs nothing but a look at an empty list.
"""

from __future__ import annotations

import sys
from collections import Counter as Tally
from collections.abc import Sequence
from time import perf_counter
from types import TracebackType
from typing import Self, TextIO

from graphdiff import host
from graphdiff.errors import AnomalyError
from graphdiff.op import Op
from graphdiff.tensor import WATCHES, Tensor
from graphdiff.text.tables import plain, table
from graphdiff.typing import Array

__all__ = ["AnomalyDetector", "Counter", "Printer", "Timer", "Watch", "detect_anomalies"]


class Watch:
    """A context manager that is told what happens in its thread or asyncio task; subclasses say what they do with it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> class Largest(gd.watch.Watch):
    ...     size = 0
    ...
    ...     def value(self, op, operands, result):
    ...         self.size = max(self.size, result.size)
    >>> with Largest() as watch:
    ...     _ = gd.sum(gd.ones((3, 4)) * 2)
    >>> watch.size
    12
    """

    def __enter__(self) -> Self:
        WATCHES.open(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        WATCHES.close(self)

    def before(self, op: Op, operands: Sequence[Tensor]) -> None:
        """Be told that an op is about to be evaluated."""

    def value(self, op: Op, operands: Sequence[Tensor], result: Tensor) -> None:
        """Be told of a node's value; the result of constants is a constant, which remembers no op."""

    def adjoint(self, node: Tensor, adjoint: Array) -> None:
        """Be told of a node's whole adjoint, an array or a Tensor, before it is carried further down."""

    def tangent(self, node: Tensor, tangent: Array) -> None:
        """Be told of a node's tangent, an array or a Tensor."""


class Counter(Watch):
    """Count evaluations by op.

    Attributes
    ----------
    values, adjoints, tangents : collections.Counter
        By the name of the op; leaves are not counted.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(2.0)
    >>> with gd.watch.Counter() as count:
    ...     (x * x + x).backward()
    >>> dict(count.values), dict(count.adjoints)
    ({'multiply': 1, 'add': 1}, {'add': 1, 'multiply': 1})
    """

    def __init__(self) -> None:
        self.values: Tally[str] = Tally()
        self.adjoints: Tally[str] = Tally()
        self.tangents: Tally[str] = Tally()

    def value(self, op: Op, operands: Sequence[Tensor], result: Tensor) -> None:
        self.values[op.name] += 1

    def adjoint(self, node: Tensor, adjoint: Array) -> None:
        if node.op is not None:
            self.adjoints[node.op.name] += 1

    def tangent(self, node: Tensor, tangent: Array) -> None:
        if node.op is not None:
            self.tangents[node.op.name] += 1


class Timer(Watch):
    """Measure how long each node takes to be evaluated, and to be pulled back by `backward`.

    Attributes
    ----------
    forward, backward : dict of Tensor to float
        Seconds.
    by_op : dict of str to (int, float, float)
        Evaluations, seconds forward and seconds backward by op, the slowest first.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable([1.0, 2.0], name="x")
    >>> with gd.watch.Timer() as timer:
    ...     gd.sum(gd.tanh(x)).backward()
    >>> sorted(timer.by_op)
    ['sum', 'tanh']
    """

    def __init__(self) -> None:
        self.forward: dict[Tensor, float] = {}
        self.backward: dict[Tensor, float] = {}
        self._names: dict[Tensor, str] = {}
        self._started = 0.0
        self._pulled: Tensor | None = None

    @property
    def by_op(self) -> dict[str, tuple[int, float, float]]:
        """Evaluations, seconds forward and seconds backward by op, the slowest first."""
        found: dict[str, tuple[int, float, float]] = {}
        for node, name in self._names.items():
            count, forward, backward = found.get(name, (0, 0.0, 0.0))
            evaluated = node in self.forward
            found[name] = (
                count + evaluated,
                forward + self.forward.get(node, 0.0),
                backward + self.backward.get(node, 0.0),
            )
        return dict(sorted(found.items(), key=lambda item: -item[1][1] - item[1][2]))

    def before(self, op: Op, operands: Sequence[Tensor]) -> None:
        self._pulled = None
        self._started = perf_counter()

    def value(self, op: Op, operands: Sequence[Tensor], result: Tensor) -> None:
        self.forward[result] = perf_counter() - self._started
        self._names[result] = op.name

    def adjoint(self, node: Tensor, adjoint: Array) -> None:
        now = perf_counter()
        if self._pulled is not None:
            self.backward[self._pulled] = self.backward.get(self._pulled, 0.0) + now - self._started
        # A leaf is not pulled back further: whatever comes after it is not its time.
        self._pulled = node if node.op is not None else None
        if node.op is not None:
            self._names[node] = node.op.name
        self._started = perf_counter()

    def __str__(self) -> str:
        rows = [
            [name, f"{count:,}", f"{1e6 * forward:,.1f}", f"{1e6 * backward:,.1f}"]
            for name, (count, forward, backward) in self.by_op.items()
        ]
        headings = ("op", "calls", "forward µs", "backward µs")
        return plain(table(headings, rows, right=range(1, 4), rule="none"))


class Printer(Watch):
    """Print every value, adjoint and tangent as it is computed.

    Parameters
    ----------
    stream : text stream, optional
        Standard output unless told otherwise.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(3.0, name="x")
    >>> with gd.watch.Printer():
    ...     gd.square(x).backward()
    value    square = 9
    adjoint  square = 1
    adjoint  x = 6
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def _print(self, kind: str, name: str, array: host.HostArray | None) -> None:
        print(
            f"{kind:<9}{name} = {_shown(array) if array is not None else 'not known yet'}",
            file=self._stream or sys.stdout,
        )

    def value(self, op: Op, operands: Sequence[Tensor], result: Tensor) -> None:
        self._print("value", op.name, result.numpy())

    def adjoint(self, node: Tensor, adjoint: Array) -> None:
        self._print("adjoint", _title(node), _array(node, adjoint))

    def tangent(self, node: Tensor, tangent: Array) -> None:
        self._print("tangent", _title(node), _array(node, tangent))


class AnomalyDetector(Watch):
    """Raise at the first value, adjoint or tangent that is NaN or infinite; made by `detect_anomalies`."""

    def __init__(self, infinities: bool = True) -> None:
        self._infinities = infinities
        self._users: dict[Tensor, list[Tensor]] = {}

    def value(self, op: Op, operands: Sequence[Tensor], result: Tensor) -> None:
        found = self._found(result.numpy())
        if found:
            given = "; ".join(f"{each.describe()} holding {_shown(each.numpy())}" for each in operands)
            raise AnomalyError(f"the value of {op.name} became {found}, {_place(result)}. Its operands: {given}")

    def adjoint(self, node: Tensor, adjoint: Array) -> None:
        found = self._found(_array(node, adjoint))
        if found:
            through = [f"{user.describe()}, {_place(user)}" for user in self._users.get(node, [])]
            raise AnomalyError(
                f"the adjoint of {node.describe()} became {found}"
                + (f", carried down from {'; and '.join(through)}" if through else ", as the seed was")
            )
        for operand in node.inputs:
            self._users.setdefault(operand, []).append(node)

    def tangent(self, node: Tensor, tangent: Array) -> None:
        found = self._found(_array(node, tangent))
        if found:
            raise AnomalyError(f"the tangent of {node.describe()} became {found}, {_place(node)}")

    def _found(self, array: host.HostArray | None) -> str:
        """Return what is wrong with an array, with the number of elements; nothing where it is finite or unknown."""
        if array is None:
            return ""
        nans, infinities = host.count_nan(array), host.count_infinite(array) if self._infinities else 0
        told = [
            f"{word} in {count} of {array.size}" for word, count in (("NaN", nans), ("infinite", infinities)) if count
        ]
        if array.shape == () and told:
            return "NaN" if nans else "infinite"
        return " and ".join(told) + " elements" if told else ""


def detect_anomalies(*, infinities: bool = True) -> AnomalyDetector:
    """Name the first node whose value, adjoint or tangent becomes NaN or infinite, with the line that made it.

    Parameters
    ----------
    infinities : bool
        Whether infinity counts, as well as NaN.

    Returns
    -------
    context manager
        Within it AnomalyError is raised, before anything is changed: no variable, no `.grad`.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(0.0, name="x")
    >>> with gd.detect_anomalies():
    ...     gd.sqrt(x).backward()
    Traceback (most recent call last):
        ...
    graphdiff.errors.AnomalyError: the adjoint of 'x' float64[] became infinite, carried down from sqrt...
    """
    return AnomalyDetector(infinities)


def _title(node: Tensor) -> str:
    return node.name or (node.op.name if node.op is not None else "leaf")


def _place(node: Tensor) -> str:
    return f"made at {node.source}"


def _shown(array: host.HostArray) -> str:
    return f"{array.item():.6g}" if array.shape == () else host.describe(array, width=60)


def _array(node: Tensor, given: Array) -> host.HostArray | None:
    """Return an adjoint or tangent as a NumPy array; None while it has no value."""
    if isinstance(given, Tensor):
        return given.numpy() if given.has_value else None
    return host.as_host(node.backend.to_host(node.backend.normalize(given)))


def __dir__() -> list[str]:
    return sorted(__all__)
