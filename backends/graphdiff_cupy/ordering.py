"""Which launches must wait for which, and on which of a few lanes each is recorded.

The launches of a step have an order, but only memory makes one wait for another: it reads what the other writes, or
writes what the other reads or writes. Launches that need not wait for each other run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from graphdiff.plan.lowering.views import View

__all__ = ["LANES", "Access", "Launch", "accesses", "lanes", "waits"]

LANES = 4
"""The most launches side by side."""


@dataclass(frozen=True)
class Access:
    """A stretch of memory that a launch reads or writes.

    Attributes
    ----------
    memory : hashable
        What the stretch is part of.
    first, end : int
        Bytes.
    writes : bool
    """

    memory: Hashable
    first: int
    end: int
    writes: bool

    def meets(self, other: Access) -> bool:
        """Whether the order of both matters."""
        overlap = self.memory == other.memory and self.first < other.end and other.first < self.end
        return overlap and (self.writes or other.writes)


@dataclass(frozen=True, eq=False)
class Launch:
    """A call that gives the device something to do.

    Attributes
    ----------
    run : callable
    lane : int
    touches : list of Access
        What it reads and writes.
    """

    run: Callable[[], None]
    lane: int
    touches: list[Access]


def accesses(reads: Iterable[View], writes: Iterable[View]) -> list[Access]:
    """Return the stretches of memory that views cover."""
    return [
        _access(view, writing) for views, writing in ((reads, False), (writes, True)) for view in views if view.size
    ]


def _access(view: View, writing: bool) -> Access:
    root, shift = view.place()
    reach = [stride * (length - 1) for length, stride in zip(view.shape, view.strides, strict=True)]
    least, most = shift + sum(min(step, 0) for step in reach), shift + sum(max(step, 0) for step in reach)
    start, width = root.offset if root.is_shared else 0, int(view.dtype.itemsize)
    return Access("workspace" if root.is_shared else root, start + width * least, start + width * (most + 1), writing)


def waits(launches: Sequence[Sequence[Access]]) -> list[list[int]]:
    """Return for every launch the earlier ones that it must wait for; those that they wait for are left out.

    Parameters
    ----------
    launches : sequence of sequence of Access
        What each launch reads and writes, in an order in which they could run one by one.

    Examples
    --------
    >>> read, write = (Access("x", 0, 8, writes) for writes in (False, True))
    >>> waits([[write], [read], [read], [write]])
    [[], [0], [0], [2, 1]]
    """
    latest: dict[Hashable, list[tuple[int, Access]]] = {}
    behind: list[int] = []  # by launch, as bits: all that is done when it begins
    found: list[list[int]] = []
    for place, own in enumerate(launches):
        before = {earlier for each in own for earlier, other in latest.get(each.memory, ()) if each.meets(other)} - {
            place
        }
        done, nearest = 0, []
        for earlier in sorted(before, reverse=True):
            if not done >> earlier & 1:
                nearest.append(earlier)
                done |= behind[earlier] | 1 << earlier
        behind.append(done)
        found.append(nearest)
        for each in own:
            entries = latest.setdefault(each.memory, [])
            if each.writes:  # whoever waits for this launch has waited for what it covers, too
                entries[:] = [entry for entry in entries if entry[1].first < each.first or entry[1].end > each.end]
            entries.append((place, each))
    return found


def lanes(waiting: Sequence[Sequence[int]]) -> list[int]:
    """Return a lane for every launch, so that few launches wait without need.

    The launches of a lane run one after the other. A launch goes where the last one is done before it can begin; else
    it opens a lane; else it goes where the last one has been there longest.

    Parameters
    ----------
    waiting : sequence of sequence of int
        As `waits` returns it.

    Examples
    --------
    >>> lanes([[], [0], [0], [2, 1]])
    [0, 0, 1, 1]
    """
    last: list[int] = []
    found: list[int] = []
    behind: list[int] = []
    for place, nearest in enumerate(waiting):
        done = 0
        for earlier in nearest:
            done |= behind[earlier] | 1 << earlier
        behind.append(done)
        free = [lane for lane, tail in enumerate(last) if done >> tail & 1]
        if free:
            lane = max(free, key=last.__getitem__)
        elif len(last) < LANES:
            lane = len(last)
            last.append(place)
        else:
            lane = min(range(LANES), key=last.__getitem__)
        last[lane] = place
        found.append(lane)
    return found
