"""Lengths and angles in a plane, whose directions are undefined at 0."""

from __future__ import annotations

from graphdiff.op import elementwise
from graphdiff.ops.elementwise import transcendental
from graphdiff.typing import Array, Namespace

# Lengths: their directions are undefined at 0. The convention 0 holds for a first derivative alone; the next is NaN.


def _over_length(F: Namespace, x: Array, length: Array) -> Array:
    above = F.where(length == 0, F.ones_like(length), length)
    # Of a length that has overflowed nothing is known: NaN, where the quotient would be 0.
    return F.where(length == 0, F.zeros_like(x), x / above * (above / above))


over_length = elementwise(
    "over_length",
    lambda F, out, x, length: 1 / length,
    lambda F, out, x, length: -out / length,
    dtype="quotient",
    evaluate=_over_length,
    symbol="÷",
    work="multiplication",
    doc="x / length: a component of a direction. 0 where the length is 0, and NaN where it is infinite.",
    internal=True,
)


def _over_square_of_hypot(F: Namespace, numerator: Array, x: Array, y: Array) -> Array:
    # Divided twice by the hypotenuse: its square overflows where the quotient does not.
    length = F.hypot(x, y)
    return F.over_length(F.over_length(numerator, length), length)


atan2 = transcendental(
    "atan2",
    lambda F, out, y, x: _over_square_of_hypot(F, x, x, y),
    lambda F, out, y, x: _over_square_of_hypot(F, -y, x, y),
    doc="The angle of the point (x, y), called as atan2(y, x); derivative 0 at the origin.",
)
hypot = transcendental(
    "hypot",
    lambda F, out, x, y: F.over_length(x, out),
    lambda F, out, x, y: F.over_length(y, out),
    poles=False,
    doc="sqrt(x² + y²) without overflow; derivative 0 at (0, 0).",
)
