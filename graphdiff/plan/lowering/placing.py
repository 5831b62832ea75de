"""Offsets for storages that live from one call to another: first fit, without looking at every storage for each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import accumulate, groupby, islice

__all__ = ["lowest_places"]

Life = tuple[int, int]
"""The first and the last call that needs a storage."""
Placed = tuple[int, int, int, int]
"""Begin, end, first and last call."""

_END = 1 << 62
_FEW = 32
"""So many storages of one size are placed by looking at all others: keeping account of room would take longer."""


class _Room:
    """What is placed, and where there is room at one call: the holes between the storages that are live then.

    A storage that lives at that call lies in one of these holes. Where n values wait for their turn, as in the gradient
    of a chain, they leave a hole or two, and n storages are placed in about n steps instead of n².

    Attributes
    ----------
    placed : list of Placed
        By offset; without those that have ended, once the room has moved.
    """

    def __init__(self, placed: list[Placed], call: int = -1) -> None:
        self.placed = placed
        self.call = call
        self._begins, self._ends = [0], [_END]
        self._waiting: list[Placed] = []
        self._ending: list[tuple[int, Placed]] = []

    @classmethod
    def moving(cls, placed: Iterable[Placed]) -> _Room:
        """Return a room that can move on from the first call."""
        room = cls(list(placed))
        room._waiting = sorted(room.placed, key=lambda each: each[2], reverse=True)
        room._ending = sorted((each[3], each) for each in room.placed)
        return room

    def holes(self) -> Iterable[tuple[int, int]]:
        """Return begin and end of every hole, the lowest first."""
        return zip(self._begins, self._ends, strict=True)

    def move(self, call: int) -> None:
        """Go on to a later call: storages that end before it make room, and those that have begun take it."""
        reached, self.call = self.call, call
        while self._ending and self._ending[0][0] < call:
            _, ended = heappop(self._ending)
            del self.placed[bisect_left(self.placed, ended)]
            if ended[2] <= reached:
                self._release(ended[0], ended[1])
        while self._waiting and self._waiting[-1][2] <= call:
            self.occupy(self._waiting.pop())

    def add(self, new: Placed) -> None:
        """Take in a storage that lives at the call reached."""
        insort(self.placed, new)
        heappush(self._ending, (new[3], new))
        self.occupy(new)

    def occupy(self, placed: Placed) -> None:
        """Take the room of a storage if it is live at the call reached."""
        begin, end, first, last = placed
        if not first <= self.call <= last:
            return
        index = bisect_right(self._begins, begin) - 1
        hole_begin, hole_end = self._begins[index], self._ends[index]
        left = [(hole_begin, begin)] if hole_begin < begin else []
        right = [(end, hole_end)] if end < hole_end else []
        self._begins[index : index + 1] = [part[0] for part in left + right]
        self._ends[index : index + 1] = [part[1] for part in left + right]

    def _release(self, begin: int, end: int) -> None:
        after = bisect_left(self._begins, end)
        before = after
        if after < len(self._begins) and self._begins[after] == end:
            end, after = self._ends[after], after + 1
        if before and self._ends[before - 1] == begin:
            begin, before = self._begins[before - 1], before - 1
        self._begins[before:after] = [begin]
        self._ends[before:after] = [end]


def _fullest_call(sizes: Sequence[int], lives: Sequence[Life]) -> int:
    """Return the call at which most bytes are needed."""
    changes: dict[int, int] = {}
    for size, (first, last) in zip(sizes, lives, strict=True):
        changes[first] = changes.get(first, 0) + size
        changes[last + 1] = changes.get(last + 1, 0) - size
    calls = sorted(changes)
    needed = list(accumulate(changes[call] for call in calls))
    return calls[needed.index(max(needed))] if calls else 0


def _lowest(room: _Room, widest: int, size: int, life: Life) -> int:
    """Return the lowest offset in the room that is free as long as a storage lives."""
    first, last = life
    for hole, hole_end in room.holes():
        if hole_end - hole < size:
            continue
        offset = hole
        start = bisect_left(room.placed, (hole - widest,))
        for begin, end, other_first, other_last in islice(room.placed, start, None):
            if begin >= offset + size or offset + size > hole_end:
                break
            if other_first <= last and first <= other_last:
                offset = max(offset, end)
        if offset + size <= hole_end:
            return offset
    raise AssertionError("the last hole has no end")


def lowest_places(sizes: Sequence[int], lives: Sequence[Life]) -> list[int]:
    """Return the offsets of storages that are placed in the order given, each as low as is free while it lives.

    Parameters
    ----------
    sizes : sequence of int
        Bytes. It is quick where equal sizes follow each other, those that are needed earlier first.
    lives : sequence of (int, int)
        First and last call of each.

    Examples
    --------
    >>> lowest_places([64, 64, 64], [(0, 1), (1, 2), (2, 3)])
    [0, 64, 0]
    """
    offsets: list[int] = []
    placed: list[Placed] = []
    widest = 0
    anywhere = _Room(placed)
    fullest = _Room(placed, _fullest_call(sizes, lives))
    for size, group in groupby(zip(sizes, lives, strict=True), key=lambda each: each[0]):
        alike = [life for _, life in group]
        widest = max(widest, size)
        reached: _Room | None = None
        for first, last in alike:
            room = anywhere
            if len(alike) > _FEW:
                room = fullest
                if reached is None or first < reached.call:
                    reached = _Room.moving(placed)
                reached.move(first)
                if not first <= fullest.call <= last:
                    room = reached
            offset = _lowest(room, widest, size, (first, last))
            new = (offset, offset + size, first, last)
            insort(placed, new)
            fullest.occupy(new)
            if reached is not None:
                reached.add(new)
            offsets.append(offset)
    return offsets
