"""How the time of a batched pass grows with the number of directions, and where forward and reverse mode cost alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphdiff.costs import per_direction
from graphdiff.differentiate.functions import jvp, vjp, vmap
from graphdiff.plan import compile as compiled
from graphdiff.tensor import Tensor

__all__ = ["Crossover", "Line", "cross"]

MOST = 512
"""Directions of the widest pass that is measured."""
POINTS = 6
"""Numbers of directions that are tried."""
MANY = 1_000_000
"""Inputs from which a crossover is said to be at any number of them."""
LARGEST = 2_000_000
"""Elements of all seeds together that are worth their memory here."""


@dataclass(frozen=True)
class Line:
    """Seconds of one batched pass against the number of its directions.

    Attributes
    ----------
    once, each : float
        The prediction is ``once + each * directions``, from counted operations; not calibrated.
    directions : list of int
        At which it was measured.
    seconds : list of float
        Medians.
    measured_once, measured_each : float
        The same line through what was measured, neither below 0, least squares of relative errors.
    """

    once: float
    each: float
    directions: list[int]
    seconds: list[float]
    measured_once: float
    measured_each: float

    def predicted(self, directions: float) -> float:
        """Return the predicted seconds."""
        return self.once + self.each * directions

    def measured(self, directions: float) -> float:
        """Return the seconds on the line through what was measured."""
        return self.measured_once + self.measured_each * directions


@dataclass(frozen=True)
class Crossover:
    """A pass of tangents and a pass of adjoints over one function.

    Attributes
    ----------
    forward, reverse : Line
    """

    forward: Line
    reverse: Line

    def inputs_for(self, outputs: float, measured: bool) -> float:
        """Return up to how many inputs forward mode is the cheaper with so many outputs; it may not be whole.

        Parameters
        ----------
        outputs : float
        measured : bool
            By measured times; else by predicted ones.
        """
        of = Line.measured if measured else Line.predicted
        start, slope = of(self.forward, 0), of(self.forward, 1) - of(self.forward, 0)
        room = of(self.reverse, outputs) - start
        return max(0.0, room / slope) if slope > 0 else math.inf if room > 0 else 0.0

    def summary(self, inputs: int, outputs: int) -> str:
        """Return where forward and reverse mode cost alike, in words."""
        most = [self.inputs_for(outputs, measured) for measured in (False, True)]
        predicted, measured = (f"{each:,.0f}" if each < MANY else "any number of" for each in most)
        plural = "" if outputs == 1 else "s"
        what = f"with {outputs} output{plural}, forward mode is cheaper than reverse up to about"
        return f"{what} {predicted} inputs as predicted, {measured} as measured; here there are {inputs}"


def cross(
    function: Callable[..., Sequence[Any]],
    points: Sequence[Any],
    outputs: Sequence[Tensor],
    leaves: Sequence[Tensor],
    timed: Callable[[Callable[[], Any]], float],
) -> Crossover:
    """Count and measure batched passes of one, a few and many directions.

    Parameters
    ----------
    function : callable
        Of arrays; returns a list of Tensors.
    points : sequence of array
    outputs, leaves : sequence of Tensor
        Of a run at these points.
    timed : callable
        Returns the seconds that a function of nothing takes.
    """
    count = len(points)
    push = compiled(lambda *given: vmap(lambda *seeds: jvp(function, given[:count], seeds)[1])(*given[count:]))
    pull = compiled(lambda *given: vmap(lambda *seeds: vjp(function, *given[:count])[1](list(seeds)))(*given[count:]))
    counts = per_direction(outputs, leaves)
    ends = [np.asarray(output.value) for output in outputs]
    inputs, size = (sum(each.size for each in arrays) for arrays in (points, ends))
    # A pass of more directions than the function has inputs or outputs is as good a measurement.
    most = max(4, min(MOST, 2 * max(inputs, size), LARGEST // max(inputs, size)))
    numbers = sorted({round(number) for number in np.geomspace(1, most, POINTS)})
    lines = {}
    for name, run, like in (("forward", push, points), ("reverse", pull, ends)):
        seconds = []
        for number in numbers:
            rows = [np.ones((number, *each.shape), each.dtype) for each in like]
            seconds.append(timed(lambda run=run, rows=rows: run(*points, *rows)))  # type: ignore[misc]
        once, each = counts[name]
        # The calls of a direction are made once for all of them.
        shared, more = each.wide(0).seconds, each.wide(1).seconds - each.wide(0).seconds
        lines[name] = Line(once.seconds + shared, more, numbers, seconds, *_fitted(numbers, seconds))
    return Crossover(lines["forward"], lines["reverse"])


def _fitted(numbers: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    x, y = np.array(numbers, float), np.array(seconds)
    weighted = np.stack([1 / y, x / y], axis=1)
    once, each = np.linalg.lstsq(weighted, np.ones(len(y)), rcond=None)[0]
    if once < 0:
        return 0.0, float(np.sum(x / y) / np.sum((x / y) ** 2))
    if each < 0:
        return float(np.sum(1 / y) / np.sum(1 / y**2)), 0.0
    return float(once), float(each)
