"""Schedules made of other schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphdiff.errors import OpError
from graphdiff.guard import guarded
from graphdiff.op import GRAPH as F
from graphdiff.optim.schedules.curves import constant
from graphdiff.optim.schedules.schedule import NOT_NEGATIVE, POSITIVE, Schedule, require_number
from graphdiff.tensor import Tensor

__all__ = ["as_schedule", "per", "scaled", "sequence", "warm_up"]


def as_schedule(value: Schedule | float) -> Schedule:
    """Return a schedule as it is, and a number as the schedule that always has it."""
    return value if isinstance(value, Schedule) else constant(value)


@dataclass(frozen=True)
class warm_up(Schedule):
    """Rise linearly from `start` times to the full first value of another schedule in `steps` steps, then follow it.

    Parameters
    ----------
    steps : float
    then : Schedule or float
        It begins, with its step 0, when the warm-up has ended.
    start : float
        The part of its first value to begin with.

    Notes
    -----
    Goyal et al., "Accurate, large minibatch SGD" (2017).

    Examples
    --------
    >>> import graphdiff as gd
    >>> warm = gd.optim.schedules.warm_up(10, then=gd.optim.schedules.step(1.0, every=10))
    >>> [round(warm(t), 12) for t in (0, 5, 10, 19, 20)]
    [0.0, 0.5, 1.0, 1.0, 0.1]
    """

    steps: float
    then: Schedule | float
    start: float = 0.0

    bounds: ClassVar = {"steps": POSITIVE, "start": NOT_NEGATIVE}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "then", as_schedule(self.then))

    def at(self, steps: Tensor) -> Tensor:
        part = self.start + (1 - self.start) * F.minimum(steps / self.steps, 1.0)
        return part * as_schedule(self.then)(F.maximum(steps - self.steps, 0.0))


@dataclass(frozen=True)
class scaled(Schedule):
    """The product of a schedule and a number or another schedule.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.optim.schedules.scaled(gd.optim.schedules.cosine(1.0, steps=10), 0.5)(0)
    0.5
    """

    schedule: Schedule | float
    factor: Schedule | float

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        object.__setattr__(self, "factor", as_schedule(self.factor))

    def at(self, steps: Tensor) -> Tensor:
        return as_schedule(self.schedule)(steps) * as_schedule(self.factor)(steps)


@dataclass(frozen=True)
class sequence(Schedule):
    """One schedule after another; each counts from its own beginning.

    Parameters
    ----------
    schedules : sequence of Schedule or float
    boundaries : sequence of float
        At which steps the second, third, … begin.

    Examples
    --------
    >>> import graphdiff as gd
    >>> parts = gd.optim.schedules.sequence([0.1, gd.optim.schedules.exponential(1.0, 0.5)], [10])
    >>> [parts(t) for t in (9, 10, 11)]
    [0.1, 1.0, 0.5]
    """

    schedules: Sequence[Schedule | float]
    boundaries: Sequence[float]

    @guarded
    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", tuple(as_schedule(part) for part in self.schedules))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if len(self.boundaries) != len(self.schedules) - 1:
            raise OpError(f"{len(self.schedules)} schedules have {len(self.schedules) - 1} boundaries between them")
        for boundary, later in zip((0, *self.boundaries), self.boundaries, strict=False):
            require_number("a boundary", later, above=boundary)

    def at(self, steps: Tensor) -> Tensor:
        first, *later = map(as_schedule, self.schedules)
        value = first(steps)
        for boundary, part in zip(self.boundaries, later, strict=True):
            value = F.where(steps >= boundary, part(F.maximum(steps - boundary, 0.0)), value)
        return value


@dataclass(frozen=True)
class per(Schedule):
    """A schedule that counts in units of so many steps, for example epochs, and stays the same within one.

    Examples
    --------
    >>> import graphdiff as gd
    >>> by_epoch = gd.optim.schedules.per(100, gd.optim.schedules.exponential(1.0, 0.5))
    >>> [by_epoch(t) for t in (99, 100, 250)]
    [1.0, 0.5, 0.25]
    """

    steps: float
    schedule: Schedule

    bounds: ClassVar = {"steps": POSITIVE}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.schedule, Schedule):
            raise OpError(f"schedule cannot be {self.schedule!r}")

    def at(self, steps: Tensor) -> Tensor:
        return self.schedule(F.floor(steps / self.steps))
