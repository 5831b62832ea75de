"""The search along a line for a point that satisfies the strong Wolfe conditions.

J. Nocedal and S. J. Wright, Numerical Optimization, 2nd edition 2006, algorithms 3.5 and 3.6; the interpolation and
the limits are those of torch.optim.LBFGS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from graphdiff.typing import Array

__all__ = ["Point", "search"]

DECREASE, CURVATURE = 1e-4, 0.9
"""The constants c₁ and c₂ of the Wolfe conditions."""

MOST = 25
"""Evaluations in one search."""

EXPANSION = 10
"""How many times as far as the last point the next one may be."""


class Point(NamedTuple):
    """A point on the line of a search: how far along, loss, slope along the line, gradient."""

    step: float
    loss: float
    slope: float
    gradient: Array

    def falls_enough_from(self, begin: Point) -> bool:
        """Whether the loss is as far below that of the beginning as its slope there promises, times c₁."""
        return self.loss <= begin.loss + DECREASE * self.step * begin.slope

    def is_flat_beside(self, begin: Point) -> bool:
        """Whether the slope is at most c₂ times as steep as at the beginning."""
        return abs(self.slope) <= -CURVATURE * begin.slope


Along = Callable[[float], Point]


def search(along: Along, begin: Point, trial: float, reach: float, tolerance: float, most: int) -> tuple[Point, int]:
    """Return a point that satisfies the strong Wolfe conditions, or the best that was found, and the evaluations.

    Parameters
    ----------
    along : callable
        Evaluates the loss so far along the line.
    begin : Point
        Where the line begins, with a slope below 0.
    trial : float
        The step to try first.
    reach : float
        How far one step moves the parameter that it moves most.
    tolerance : float
        An interval in which no parameter moves further than this is not divided any more.
    most : int
        Evaluations, about; never more than `MOST`.
    """
    most = min(most, MOST)
    last, now, tried = _expanded(along, begin, trial, most)
    if now.falls_enough_from(begin) and now.is_flat_beside(begin) and not (tried > 2 and now.loss >= last.loss):
        return now, tried
    low, high = (now, last) if now.loss < last.loss else (last, now)
    return _narrowed(along, begin, low, high, reach, tolerance, most, tried)


def _expanded(along: Along, begin: Point, trial: float, most: int) -> tuple[Point, Point, int]:
    """Go on until a point will do, or two points have a good one between them; return the last two, and how many."""
    last, now, tried = begin, along(trial), 1
    while now.falls_enough_from(begin) and not (tried > 2 and now.loss >= last.loss):
        if now.is_flat_beside(begin) or now.slope >= 0:
            break
        if tried > most:
            return begin, now, tried
        least, furthest = now.step + 0.01 * (now.step - last.step), EXPANSION * now.step
        last, now, tried = now, along(_interpolated(last, now, least, furthest)), tried + 1
    return last, now, tried


def _narrowed(
    along: Along, begin: Point, low: Point, high: Point, reach: float, tolerance: float, most: int, tried: int
) -> tuple[Point, int]:
    """Draw two points together around a good one; `low` is the better of them."""
    stalled = False
    while tried <= most and abs(high.step - low.step) * reach >= tolerance:
        step, stalled = _between(low, high, stalled)
        point = along(step)
        tried += 1
        if not point.falls_enough_from(begin) or not point.loss < low.loss:
            high = point
            if high.loss < low.loss:
                low, high = high, low
        else:
            if point.is_flat_beside(begin):
                return point, tried
            if point.slope * (high.step - low.step) >= 0:
                high = low
            low = point
    return low, tried


def _between(low: Point, high: Point, stalled: bool) -> tuple[float, bool]:
    """Return where to try next, and whether that is close to an end: if so twice, it is moved a tenth inwards."""
    left, right = sorted((low.step, high.step))
    step = _interpolated(low, high, left, right)
    margin = 0.1 * (right - left)
    if not min(right - step, step - left) < margin:
        return step, False
    if not stalled and left < step < right:
        return step, True
    return (right - margin if abs(step - right) < abs(step - left) else left + margin), False


def _interpolated(a: Point, b: Point, least: float, most: float) -> float:
    """Return where the cubic with the losses and slopes of two points has its minimum, within limits."""
    if a.step > b.step:
        a, b = b, a
    width = b.step - a.step
    if width == 0 or not math.isfinite(a.loss + b.loss + a.slope + b.slope):
        return (least + most) / 2
    mean = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = mean * mean - a.slope * b.slope
    if square < 0:
        return (least + most) / 2
    root = math.sqrt(square)
    below = b.slope - a.slope + 2 * root
    if below == 0:
        return (least + most) / 2
    return min(max(b.step - width * ((b.slope + root - mean) / below), least), most)
