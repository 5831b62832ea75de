"""Powers, and the squares of lengths without the root between."""

from __future__ import annotations

from collections.abc import Callable

from graphdiff.op import elementwise, function
from graphdiff.ops.elementwise import square
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Namespace


def _power_base(F: Namespace, out: Array, x: Array, y: Array) -> Array:
    # x**0 is constant, even at 0, where 0 · x**-1 would be NaN.
    if (
        isinstance(y, Tensor) and not y.recorded and y.size == 1
    ):  # a number: what a lecture writes, with no case to tell apart
        return _power_of_number(F, out, x, y, y.item())
    flat = y == 0
    return F.where(flat, F.zeros_like(out), y * x ** (F.where(flat, F.ones_like(y), y) - 1))


def _power_of_number(F: Namespace, out: Array, x: Array, y: Array, number: float) -> Array:
    if number == 0:
        return F.zeros_like(out)
    if number == 2:
        return y * x
    less = number - 1
    return y * x ** (int(less) if float(less).is_integer() else less)


def _power_exponent(F: Namespace, out: Array, x: Array, y: Array) -> Array:
    # 0**y is constantly 0 for y > 0, where 0 · log(0) would be NaN.
    at_zero = (x == 0) & (y >= 0)
    return F.where(at_zero, F.zeros_like(out), out * F.log(F.where(at_zero, F.ones_like(x), x)))


_power = elementwise(
    "power",
    _power_base,
    _power_exponent,
    dtype="number",
    work="transcendental",
    function="pow",
    symbol="**",
    poles=(0,),
    doc="x to the power y; the derivative of x**0 is 0 at 0 too.",
)


SQUARED: dict[str, Callable[..., Tensor]] = {
    "abs": lambda x: square(x),
    "hypot": lambda x, y: square(x) + square(y),
}
"""The squares of lengths by op, without the root between: they have all derivatives at 0."""


@function("pow", name="power")
def power(x: ArrayLike, y: ArrayLike, /) -> Tensor:
    """Return x to the power y; the derivative of x**0 is 0 at 0 too. An exponent of literally 2 becomes `square`."""
    if y.__class__ in (int, float) and y == 2:
        # Not of complex numbers, whose square is no square of a length, nor of integers, whose square may not fit.
        length = x.op.name if isinstance(x, Tensor) and x.op is not None else ""
        if isinstance(x, Tensor) and length in SQUARED and all(part.dtype == x.dtype for part in x.inputs):
            return SQUARED[length](*x.inputs, **x.attributes)
        if y.__class__ is int:
            return square(x)
    return _power(x, y)


power.op = _power.op  # type: ignore[attr-defined]
