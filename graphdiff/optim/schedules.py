"""Schedules: learning rates and momenta that change as training goes on.

A schedule is a function of the number of steps made so far, written in graph functions. Given to an optimiser as `lr`
or `momentum` it becomes part of the graph of the step, so that a compiled step follows it without being traced again.
Steps count from 0; times and periods are in steps. `per` makes a schedule that counts in epochs.

Every schedule can be drawn or tabulated by calling it with a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import field as _field
from numbers import Real
from typing import Any

from graphdiff.errors import OpError
from graphdiff.op import GRAPH as F
from graphdiff.op import as_tensor
from graphdiff.tensor import Tensor, Variable, variable
from graphdiff.tensor import constant as _constant

__all__ = [
    *("Schedule", "constant", "linear", "step", "exponential", "inverse_time", "cosine", "warm_restarts"),
    *("cyclical", "one_cycle", "warm_up", "scaled", "sequence", "per", "reduce_on_plateau"),
]


class Schedule:
    """What every schedule has; subclasses define `at`.

    Examples
    --------
    A schedule of one's own:

    >>> import graphdiff as gd
    >>> class halved(gd.optim.Schedule):
    ...     def at(self, steps):
    ...         return 0.5**steps
    >>> halved()(3)
    0.125
    """

    def at(self, steps: Tensor) -> Any:
        """Return the value after so many steps, a 0-d float64 Tensor made by graph functions."""
        raise NotImplementedError

    def variables(self) -> list[Variable]:
        """Return what the schedule remembers beyond the number of steps."""
        return [leaf for part in self._within() for leaf in part.variables()]

    def parts(self) -> list[Schedule]:
        """Return this schedule and all that it is made of."""
        return [self, *(inner for part in self._within() for inner in part.parts())]

    def _within(self) -> list[Schedule]:
        values = [part for value in vars(self).values() for part in (value if isinstance(value, tuple) else (value,))]
        return [part for part in values if isinstance(part, Schedule)]

    def __call__(self, steps: Any) -> Any:
        """Return the value after so many steps: of a Tensor a Tensor, of a number a number."""
        if isinstance(steps, Tensor):
            return as_tensor(self.at(steps))
        return float(as_tensor(self.at(_constant(float(steps)))))


def _require(name: str, value: Any, ok: bool = True) -> None:
    if not isinstance(value, Real) or not math.isfinite(value) or not ok:
        raise OpError(f"{name} cannot be {value!r}")


def _number(name: str, value: Any, least: float = -math.inf, above: float = -math.inf) -> None:
    _require(name, value, isinstance(value, Real) and float(value) >= least and float(value) > above)


def _schedule(value: Any) -> Schedule:
    return value if isinstance(value, Schedule) else constant(value)


def _between(start: Any, end: Any, part: Any, shape: str = "cos") -> Any:
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

    def __post_init__(self) -> None:
        _number("value", self.value, least=0)

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("initial", self.initial, least=0)
        _number("final", self.final, least=0)
        _number("steps", self.steps, above=0)

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("initial", self.initial, least=0)
        _number("every", self.every, above=0)
        _number("factor", self.factor, above=0)

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("initial", self.initial, least=0)
        _number("factor", self.factor, above=0)

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("initial", self.initial, least=0)
        _number("decay", self.decay, least=0)
        _number("power", self.power, above=0)

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("initial", self.initial, least=0)
        _number("final", self.final, least=0)
        _number("steps", self.steps, above=0)

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("initial", self.initial, least=0)
        _number("final", self.final, least=0)
        _number("period", self.period, above=0)
        _number("factor", self.factor, least=1)

    def at(self, steps: Tensor) -> Any:
        if self.factor == 1:
            return _between(self.initial, self.final, F.remainder(steps, self.period) / self.period)

        def begin(number: Any) -> Any:
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

    def __post_init__(self) -> None:
        _number("low", self.low, least=0)
        _number("high", self.high, least=0)
        _number("half", self.half, above=0)
        if self.mode not in ("triangular", "triangular2"):
            raise OpError(f'mode is "triangular" or "triangular2", not {self.mode!r}')

    def at(self, steps: Tensor) -> Any:
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

    def __post_init__(self) -> None:
        _number("peak", self.peak, least=0)
        for name in ("start", "final"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), least=0)
        _number("steps", self.steps, above=1)
        _require("rise", self.rise, isinstance(self.rise, Real) and 1 < self.rise * self.steps < self.steps)
        if self.shape not in ("cos", "linear"):
            raise OpError(f'shape is "cos" or "linear", not {self.shape!r}')

    def at(self, steps: Tensor) -> Any:
        start = self.peak / 25 if self.start is None else self.start
        final = start / 1e4 if self.final is None else self.final
        top, last = self.rise * self.steps - 1, self.steps - 1
        up = _between(start, self.peak, steps / top, self.shape)
        down = _between(self.peak, final, F.minimum((steps - top) / (last - top), 1.0), self.shape)
        return F.where(steps <= top, up, down)


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

    def __post_init__(self) -> None:
        _number("steps", self.steps, above=0)
        _number("start", self.start, least=0)
        object.__setattr__(self, "then", _schedule(self.then))

    def at(self, steps: Tensor) -> Any:
        part = self.start + (1 - self.start) * F.minimum(steps / self.steps, 1.0)
        return part * _schedule(self.then)(F.maximum(steps - self.steps, 0.0))


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
        object.__setattr__(self, "schedule", _schedule(self.schedule))
        object.__setattr__(self, "factor", _schedule(self.factor))

    def at(self, steps: Tensor) -> Any:
        return _schedule(self.schedule)(steps) * _schedule(self.factor)(steps)


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

    schedules: Any
    boundaries: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", tuple(_schedule(part) for part in self.schedules))
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        if len(self.boundaries) != len(self.schedules) - 1:
            raise OpError(f"{len(self.schedules)} schedules have {len(self.schedules) - 1} boundaries between them")
        for boundary, later in zip((0, *self.boundaries), self.boundaries, strict=False):
            _number("a boundary", later, above=boundary)

    def at(self, steps: Tensor) -> Any:
        value = self.schedules[0](steps)
        for boundary, part in zip(self.boundaries, self.schedules[1:], strict=True):
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

    def __post_init__(self) -> None:
        _number("steps", self.steps, above=0)
        if not isinstance(self.schedule, Schedule):
            raise OpError(f"schedule cannot be {self.schedule!r}")

    def at(self, steps: Tensor) -> Any:
        return self.schedule(F.floor(steps / self.steps))


@dataclass(eq=False)
class reduce_on_plateau(Schedule):
    """Times `factor` whenever a metric, told to it by `update`, has not improved for a while.

    `gd.train.fit` tells it after each epoch: the loss, or with ``mode="max"`` the accuracy, of the validation data if
    there are any.

    Parameters
    ----------
    initial : float or Schedule
        What is reduced.
    factor : float
    patience : int
        So many updates without improvement are borne; the next one reduces.
    threshold : float
        The relative improvement that counts.
    cooldown : int
        So many updates after a reduction are not counted.
    mode : {"min", "max"}
        Whether smaller or larger metrics are better.
    reductions : int, optional
        Reduce so many times at most; the plateau after the last sets `finished`, when training may stop.

    Attributes
    ----------
    finished : bool

    Notes
    -----
    As torch.optim.lr_scheduler.ReduceLROnPlateau counts, which also bears `patience` updates.

    Examples
    --------
    >>> import graphdiff as gd
    >>> rate = gd.optim.schedules.reduce_on_plateau(1.0, factor=0.1, patience=1)
    >>> w = gd.variable(3.0)
    >>> optimizer = gd.optim.SGD([w], lr=rate)
    >>> [rate.update(loss) for loss in (4.0, 3.0, 3.0, 3.0)]
    [False, False, False, True]
    >>> optimizer.lr
    0.1
    """

    initial: Schedule | float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    mode: str = "min"
    reductions: int | None = None
    _memory: Variable = _field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.initial = _schedule(self.initial)
        _require("factor", self.factor, isinstance(self.factor, Real) and 0 < self.factor < 1)
        for name in ("patience", "threshold", "cooldown"):
            _number(name, getattr(self, name), least=0)
        if self.mode not in ("min", "max"):
            raise OpError(f'mode is "min" or "max", not {self.mode!r}')
        if self.reductions is not None:
            _number("reductions", self.reductions, least=0)
        # [factor so far, best metric, updates without improvement, updates left to cool down, reductions, finished]
        best = math.inf if self.mode == "min" else -math.inf
        self._memory = variable([1.0, best, 0.0, 0.0, 0.0, 0.0], name="plateau")

    def at(self, steps: Tensor) -> Any:
        return _schedule(self.initial)(steps) * as_tensor(self._memory)[0]

    def variables(self) -> list[Variable]:
        return [*super().variables(), self._memory]

    @property
    def finished(self) -> bool:
        """Whether there was another plateau after the last reduction."""
        return bool(self._memory.numpy()[5])

    def update(self, metric: float) -> bool:
        """Take notice of a metric, once per epoch; return whether the value was reduced."""
        metric = float(metric)
        scale, best, waited, cooling, made, finished = self._memory.tolist()
        sign = 1 if self.mode == "min" else -1
        bound = best * (1 - sign * self.threshold) if math.isfinite(best) else best
        if sign * metric < sign * bound:
            best, waited = metric, 0.0
        else:
            waited += 1
        if cooling > 0:
            cooling, waited = cooling - 1, 0.0
        reduced = False
        if waited > self.patience:
            waited = 0.0
            if self.reductions is not None and made >= self.reductions:
                finished = 1.0
            else:
                scale, made, cooling, reduced = scale * self.factor, made + 1, float(self.cooldown), True
        self._memory.assign([scale, best, waited, cooling, made, finished])
        return reduced
