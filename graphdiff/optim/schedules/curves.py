"""Schedules that are a formula of the number of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from graphdiff.errors import OpError
from graphdiff.op import GRAPH as F
from graphdiff.optim.schedules.schedule import NOT_NEGATIVE, POSITIVE, Schedule, require, require_number
from graphdiff.tensor import Tensor

__all__ = [
    "constant",
    "cosine",
    "cyclical",
    "exponential",
    "inverse_time",
    "linear",
    "one_cycle",
    "step",
    "warm_restarts",
]


def _between(start: float, end: float, part: Tensor, shape: str = "cos") -> Tensor:
    """Return the value when a part, from 0 to 1, of the way from start to end is gone."""
    return end + (start - end) * ((1 + F.cos(math.pi * part)) / 2) if shape == "cos" else start + (end - start) * part


@dataclass(frozen=True)
class constant(Schedule):
    """Always the same value.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.optim.schedules.constant(0.1)(1000)
    0.1
    """

    value: float

    bounds: ClassVar = {"value": NOT_NEGATIVE}

    def at(self, steps: Tensor) -> Tensor:
        return self.value + 0.0 * steps


@dataclass(frozen=True)
class linear(Schedule):
    """From `initial` to `final` in `steps` steps, and then there: as momentum is raised over time.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.optim.schedules.linear(0.5, 0.9, steps=4)(1)
    0.6
    """

    initial: float
    final: float
    steps: float

    bounds: ClassVar = {"initial": NOT_NEGATIVE, "final": NOT_NEGATIVE, "steps": POSITIVE}

    def at(self, steps: Tensor) -> Tensor:
        return _between(self.initial, self.final, F.minimum(steps / self.steps, 1.0), "linear")


@dataclass(frozen=True)
class step(Schedule):
    """Times `factor` after every `every` steps: initial·factor^⌊t / every⌋.

    Examples
    --------
    >>> import graphdiff as gd
    >>> [gd.optim.schedules.step(1.0, every=10, factor=0.5)(t) for t in (9, 10, 25)]
    [1.0, 0.5, 0.25]
    """

    initial: float
    every: float
    factor: float = 0.1

    bounds: ClassVar = {"initial": NOT_NEGATIVE, "every": POSITIVE, "factor": POSITIVE}

    def at(self, steps: Tensor) -> Tensor:
        return self.initial * self.factor ** F.floor(steps / self.every)


@dataclass(frozen=True)
class exponential(Schedule):
    """Times `factor` at every step: initial·factor^t.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.optim.schedules.exponential(1.0, factor=0.5)(3)
    0.125
    """

    initial: float
    factor: float

    bounds: ClassVar = {"initial": NOT_NEGATIVE, "factor": POSITIVE}

    def at(self, steps: Tensor) -> Tensor:
        return self.initial * self.factor**steps


@dataclass(frozen=True)
class inverse_time(Schedule):
    """The schedule initial / (1 + decay·t)^power.

    With a power in (1/2, 1] the sum of the rates diverges and that of their squares converges, as Robbins and Monro
    (1951) ask for.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.optim.schedules.inverse_time(1.0, decay=0.5)(6)
    0.25
    """

    initial: float
    decay: float
    power: float = 1.0

    bounds: ClassVar = {"initial": NOT_NEGATIVE, "decay": NOT_NEGATIVE, "power": POSITIVE}

    def at(self, steps: Tensor) -> Tensor:
        below = 1 + self.decay * steps
        return self.initial / (below if self.power == 1 else below**self.power)


@dataclass(frozen=True)
class cosine(Schedule):
    """Half a cosine from `initial` to `final` in `steps` steps, and then there (Loshchilov and Hutter, 2017).

    Examples
    --------
    >>> import graphdiff as gd
    >>> [round(gd.optim.schedules.cosine(1.0, steps=10)(t), 12) for t in (0, 5, 10, 20)]
    [1.0, 0.5, 0.0, 0.0]
    """

    initial: float
    steps: float
    final: float = 0.0

    bounds: ClassVar = {"initial": NOT_NEGATIVE, "final": NOT_NEGATIVE, "steps": POSITIVE}

    def at(self, steps: Tensor) -> Tensor:
        return _between(self.initial, self.final, F.minimum(steps / self.steps, 1.0))


@dataclass(frozen=True)
class warm_restarts(Schedule):
    """A cosine again and again, each period `factor` times as long as the last (SGDR, Loshchilov and Hutter, 2017).

    Examples
    --------
    >>> import graphdiff as gd
    >>> restarting = gd.optim.schedules.warm_restarts(1.0, period=10, factor=2)
    >>> [round(restarting(t), 12) for t in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    initial: float
    period: float
    factor: float = 1.0
    final: float = 0.0

    bounds: ClassVar = {"initial": NOT_NEGATIVE, "final": NOT_NEGATIVE, "period": POSITIVE, "factor": {"least": 1}}

    def at(self, steps: Tensor) -> Tensor:
        if self.factor == 1:
            return _between(self.initial, self.final, F.remainder(steps, self.period) / self.period)

        def begin(number: Tensor) -> Tensor:
            return self.period * (self.factor**number - 1) / (self.factor - 1)

        number = F.floor(F.log(steps / self.period * (self.factor - 1) + 1) / math.log(self.factor))
        # The logarithm may be a rounding error beside a whole number.
        number = F.where(begin(number + 1) <= steps, number + 1, number)
        number = F.where(begin(number) > steps, number - 1, number)
        return _between(self.initial, self.final, (steps - begin(number)) / (self.period * self.factor**number))


@dataclass(frozen=True)
class cyclical(Schedule):
    """Up and down between `low` and `high`, `half` steps each way (Smith, 2017).

    Parameters
    ----------
    low, high : float
    half : float
        Steps from low to high.
    mode : {"triangular", "triangular2"}
        With triangular2 every cycle reaches half as high above `low` as the last.

    Examples
    --------
    >>> import graphdiff as gd
    >>> triangles = gd.optim.schedules.cyclical(1.0, 3.0, half=10, mode="triangular2")
    >>> [triangles(t) for t in (0, 5, 10, 20, 30)]
    [1.0, 2.0, 3.0, 1.0, 2.0]
    """

    low: float
    high: float
    half: float
    mode: str = "triangular"

    bounds: ClassVar = {"low": NOT_NEGATIVE, "high": NOT_NEGATIVE, "half": POSITIVE}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("triangular", "triangular2"):
            raise OpError(f'mode is "triangular" or "triangular2", not {self.mode!r}')

    def at(self, steps: Tensor) -> Tensor:
        cycle = F.floor(steps / (2 * self.half))
        part = 1 - F.abs(steps / self.half - 2 * cycle - 1)
        height = self.high - self.low
        return self.low + part * (height * 0.5**cycle if self.mode == "triangular2" else height)


@dataclass(frozen=True)
class one_cycle(Schedule):
    """Once up and further down again (Smith and Topin, 2018), as PyTorch has it.

    Parameters
    ----------
    peak : float
    steps : int
        Of the whole training; the last step has the value `final`.
    start, final : float, optional
        By default peak / 25 and start / 10⁴. For momentum: ``one_cycle(0.85, steps, start=0.95, final=0.95)``.
    rise : float
        The part of the steps on the way to the peak.
    shape : {"cos", "linear"}

    Examples
    --------
    >>> import graphdiff as gd
    >>> once = gd.optim.schedules.one_cycle(1.0, steps=101, start=0.1, final=0.0, rise=51 / 101)
    >>> [round(once(t), 12) for t in (0, 25, 50, 75, 100)]
    [0.1, 0.55, 1.0, 0.5, 0.0]
    """

    peak: float
    steps: float
    start: float | None = None
    final: float | None = None
    rise: float = 0.3
    shape: str = "cos"

    bounds: ClassVar = {"peak": NOT_NEGATIVE, "steps": {"above": 1}}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("start", "final"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), least=0)
        require("rise", self.rise, isinstance(self.rise, Real) and 1 < self.rise * self.steps < self.steps)
        if self.shape not in ("cos", "linear"):
            raise OpError(f'shape is "cos" or "linear", not {self.shape!r}')

    def at(self, steps: Tensor) -> Tensor:
        start = self.peak / 25 if self.start is None else self.start
        final = start / 1e4 if self.final is None else self.final
        top, last = self.rise * self.steps - 1, self.steps - 1
        up = _between(start, self.peak, steps / top, self.shape)
        down = _between(self.peak, final, F.minimum((steps - top) / (last - top), 1.0), self.shape)
        return F.where(steps <= top, up, down)
