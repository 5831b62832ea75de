"""Elementwise ops: one line each, with the partial derivative that a lecture writes on the edge of the graph.

At kinks the conventions are PyTorch's: relu'(0) = 0, abs'(0) = 0, ties of maximum and minimum share equally, clip has
derivative 1 at its bounds, and hypot, norm and std have derivative 0 where they are 0. Where x is NaN, relu'(x) is 1,
not NaN: what passes is the adjoint, so that plans need not tell NaN from positive numbers.
"""

from __future__ import annotations

import math
from functools import partial

from graphdiff import host
from graphdiff.errors import DTypeError
from graphdiff.op import elementwise
from graphdiff.typing import Array, Namespace

_LN2, _LN10 = math.log(2), math.log(10)


def mask(F: Namespace, condition: Array, like: Array) -> Array:
    """Return a condition as numbers, 1 and 0, of the dtype of another array."""
    return F.astype(condition, like.dtype)


def known(F: Namespace, x: Array, choice: Array) -> Array:
    """Return a mask with NaN where x is, which has no side."""
    return F.where(x != x, x, choice)


def zero(F: Namespace, x: Array) -> Array:
    """Return 0 in the dtype of x."""
    return F.zeros((), dtype=x.dtype)


transcendental = partial(elementwise, dtype="float", work="transcendental")
"""Declare an elementary function, a root or a power."""


# One argument ------------------------------------------------------------------------------------------------

negative = elementwise("negative", -1, symbol="−", work="sign", doc="Return -x.")
positive = elementwise("positive", 1, symbol="+", work="view", keeps="places", doc="Return +x.")
abs = elementwise(
    "abs",
    lambda F, out, x: F.sign(x),
    dtype="magnitude",
    symbol="|·|",
    work="comparison",
    poles=False,
    doc="Absolute value; derivative 0 at 0.",
)
sign = elementwise("sign", None, work="comparison", doc="Sign of x: -1, 0 or 1; derivative 0 everywhere.")
square = elementwise(
    "square", lambda F, out, x: 2 * x, dtype="number", symbol="²", work="multiplication", poles=False, doc="Return x²."
)
sqrt = transcendental("sqrt", lambda F, out, x: 0.5 / out, symbol="√", poles=(0,), doc="Square root.")


def as_float(F: Namespace, x: Array) -> Array:
    """Return x as floating numbers; complex ones are refused."""
    if host.dtype(x.dtype).kind == "c":
        raise DTypeError("erf, and what is made of it, and cbrt are of real numbers; this is complex")
    return x if host.is_real_floating(host.dtype(x.dtype)) else F.astype(x, F.float64)


def _cbrt(F: Namespace, x: Array) -> Array:
    x = as_float(F, x)
    rough = F.sign(x) * F.abs(x) ** (1 / 3)
    ordinary = F.isfinite(rough) & (rough != 0)
    safe = F.where(ordinary, rough, F.ones_like(rough))
    # A step of Newton's: the power's error grows with the logarithm of x.
    return F.where(ordinary, safe - (safe - x / (safe * safe)) / 3, rough)


cbrt = transcendental(
    "cbrt", lambda F, out, x: 1 / (3 * out * out), evaluate=_cbrt, poles=(0,), dtype="quotient", doc="Cube root."
)
reciprocal = elementwise(
    "reciprocal",
    lambda F, out, x: -out * out,
    dtype="quotient",
    evaluate=lambda F, x: 1 / x,
    symbol="1/·",
    work="multiplication",
    poles=(0,),
    doc="Return 1/x.",
)
exp = transcendental("exp", lambda F, out, x: out, doc="Exponential.")
# Not out + 1: in what is close to -1 there are no bits left of exp(x).
expm1 = transcendental("expm1", lambda F, out, x: F.exp(x), doc="exp(x) - 1, accurate near 0.")
log = transcendental("log", lambda F, out, x: 1 / x, poles=(0,), doc="Natural logarithm.")
log1p = transcendental("log1p", lambda F, out, x: 1 / (1 + x), doc="log(1 + x), accurate near 0.")
log2 = transcendental("log2", lambda F, out, x: (1 / _LN2) / x, poles=(0,), doc="Logarithm to base 2.")
log10 = transcendental("log10", lambda F, out, x: (1 / _LN10) / x, poles=(0,), doc="Logarithm to base 10.")
sin = transcendental("sin", lambda F, out, x: F.cos(x), poles=False, doc="Sine of radians.")
cos = transcendental("cos", lambda F, out, x: -F.sin(x), poles=False, doc="Cosine of radians.")
tan = transcendental("tan", lambda F, out, x: 1 + out * out, poles=False, doc="Tangent of radians.")
asin = transcendental("asin", lambda F, out, x: 1 / F.sqrt((1 - x) * (1 + x)), doc="Inverse sine.")
acos = transcendental("acos", lambda F, out, x: -1 / F.sqrt((1 - x) * (1 + x)), doc="Inverse cosine.")
atan = transcendental("atan", lambda F, out, x: 1 / (1 + x * x), poles=False, doc="Inverse tangent.")
sinh = transcendental("sinh", lambda F, out, x: F.cosh(x), doc="Hyperbolic sine.")
cosh = transcendental("cosh", lambda F, out, x: F.sinh(x), doc="Hyperbolic cosine.")
tanh = transcendental("tanh", lambda F, out, x: 1 - out * out, poles=False, doc="Hyperbolic tangent.")
# 1 / hypot(1, x), not 1 / sqrt(1 + x²): the square overflows where the quotient does not.
asinh = transcendental(
    "asinh", lambda F, out, x: 1 / F.hypot(F.ones_like(x), x), poles=False, doc="Inverse hyperbolic sine."
)
acosh = transcendental("acosh", lambda F, out, x: 1 / (F.sqrt(x - 1) * F.sqrt(x + 1)), doc="Inverse hyperbolic cosine.")
atanh = transcendental("atanh", lambda F, out, x: 1 / ((1 - x) * (1 + x)), doc="Inverse hyperbolic tangent.")

floor = elementwise("floor", None, work="comparison", doc="Greatest integer not above x; derivative 0.")
ceil = elementwise("ceil", None, work="comparison", doc="Least integer not below x; derivative 0.")
round = elementwise(
    "round",
    None,
    evaluate=lambda F, x: F.round(x) if host.dtype(x.dtype).kind != "b" else x,
    work="comparison",
    doc="Nearest integer, halves to even; derivative 0.",
)
trunc = elementwise("trunc", None, work="comparison", doc="Integer part; derivative 0.")
isnan = elementwise("isnan", None, dtype="bool", doc="Whether x is NaN.")
isfinite = elementwise("isfinite", None, dtype="bool", doc="Whether x is neither NaN nor infinite.")
isinf = elementwise("isinf", None, dtype="bool", doc="Whether x is infinite.")
stop_gradient = elementwise(
    "stop_gradient",
    None,
    evaluate=lambda F, x: x,
    flops=0,
    work="view",
    doc="Return x, through which no derivative flows.",
)
logical_not = elementwise("logical_not", None, dtype="bool", symbol="¬", doc="Not.")
bitwise_invert = elementwise(
    "bitwise_invert", None, symbol="~", work="comparison", doc="Bitwise not; on booleans, not."
)

# Two arguments -----------------------------------------------------------------------------------------------

add = elementwise("add", 1, 1, symbol="+", work="addition", doc="x + y.")
subtract = elementwise("subtract", 1, -1, symbol="−", work="addition", doc="x - y.")
multiply = elementwise(
    "multiply",
    lambda F, out, x, y: y,
    lambda F, out, x, y: x,
    symbol="×",
    work="multiplication",
    poles=False,
    doc="x · y.",
)
divide = elementwise(
    "divide",
    lambda F, out, x, y: 1 / y,
    lambda F, out, x, y: -out / y,
    dtype="quotient",
    symbol="÷",
    work="multiplication",
    poles=(1,),
    doc="x / y.",
)


def _share(F: Namespace, wins: Array, ties: Array, like: Array) -> Array:
    return known(F, like, mask(F, wins, like) + 0.5 * mask(F, ties, like))


maximum = elementwise(
    "maximum",
    lambda F, out, x, y: _share(F, x > y, x == y, out),
    lambda F, out, x, y: _share(F, y > x, x == y, out),
    symbol="max",
    work="comparison",
    poles=False,
    chooses=True,
    doc="The greater of x and y; ties share the gradient equally.",
)
minimum = elementwise(
    "minimum",
    lambda F, out, x, y: _share(F, x < y, x == y, out),
    lambda F, out, x, y: _share(F, y < x, x == y, out),
    symbol="min",
    work="comparison",
    poles=False,
    chooses=True,
    doc="The lesser of x and y; ties share the gradient equally.",
)


logaddexp = transcendental(
    "logaddexp",
    lambda F, out, x, y: F.logistic(x - y),
    lambda F, out, x, y: F.logistic(y - x),
    poles=False,
    doc="log(exp(x) + exp(y)) without overflow.",
)
floor_divide = elementwise(
    "floor_divide", None, None, dtype="number", symbol="//", work="multiplication", doc="floor(x / y); derivative 0."
)
remainder = elementwise(
    "remainder",
    1,
    # Not floor(x / y), which rounds: 1 % 0.1 is 1 - 9 · 0.1.
    lambda F, out, x, y: -F.floor_divide(x, y),
    dtype="number",
    symbol="%",
    work="multiplication",
    doc="x - floor(x / y)·y: Python's %.",
)

equal = elementwise("equal", None, None, dtype="bool", symbol="==", doc="x == y.")
not_equal = elementwise("not_equal", None, None, dtype="bool", symbol="≠", doc="x != y.")
less = elementwise("less", None, None, dtype="bool", symbol="<", doc="x < y.")
less_equal = elementwise("less_equal", None, None, dtype="bool", symbol="≤", doc="x <= y.")
greater = elementwise("greater", None, None, dtype="bool", symbol=">", doc="x > y.")
greater_equal = elementwise("greater_equal", None, None, dtype="bool", symbol="≥", doc="x >= y.")
logical_and = elementwise("logical_and", None, None, dtype="bool", symbol="∧", doc="x and y.")
logical_or = elementwise("logical_or", None, None, dtype="bool", symbol="∨", doc="x or y.")
logical_xor = elementwise("logical_xor", None, None, dtype="bool", symbol="⊻", doc="Either x or y.")
bitwise_and = elementwise("bitwise_and", None, None, symbol="&", work="comparison", doc="Bitwise and.")
bitwise_or = elementwise("bitwise_or", None, None, symbol="|", work="comparison", doc="Bitwise or.")
bitwise_xor = elementwise("bitwise_xor", None, None, symbol="^", work="comparison", doc="Bitwise exclusive or.")
