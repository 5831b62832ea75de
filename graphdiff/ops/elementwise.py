"""Elementwise ops: one line each, with the partial derivative that a lecture writes on the edge of the graph.

At kinks the conventions are PyTorch's: relu'(0) = 0, abs'(0) = 0, ties of maximum and minimum share equally, clip has
derivative 1 at its bounds, and hypot, norm and std have derivative 0 where they are 0. Where x is NaN, relu'(x) is 1,
not NaN: what passes is the adjoint, so that plans need not tell NaN from positive numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from graphdiff import host
from graphdiff.errors import DTypeError, OpError
from graphdiff.op import FUNCTIONS, Applied, as_tensor, custom, elementwise, function
from graphdiff.tensor import Tensor
from graphdiff.typing import Array, ArrayLike, Namespace

_LN2, _LN10 = math.log(2), math.log(10)
_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_SQRT_TWO_OVER_PI, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715
_SQRT_HALF, _INV_SQRT_2PI = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)


def _mask(F: Namespace, condition: Array, like: Array) -> Array:
    return F.astype(condition, like.dtype)


def _known(F: Namespace, x: Array, choice: Array) -> Array:
    """Return a mask with NaN where x is, which has no side."""
    return F.where(x != x, x, choice)


def _zero(F: Namespace, x: Array) -> Array:
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


def _as_float(F: Namespace, x: Array) -> Array:
    if host.dtype(x.dtype).kind == "c":
        raise DTypeError("erf, and what is made of it, and cbrt are of real numbers; this is complex")
    return x if host.is_real_floating(host.dtype(x.dtype)) else F.astype(x, F.float64)


def _cbrt(F: Namespace, x: Array) -> Array:
    x = _as_float(F, x)
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

# Rational approximations of erf and erfc on three intervals: W. J. Cody, Rational Chebyshev approximation for the error
# function, Math. Comp. 23 (1969), relative error below 6e-19 before rounding.
_ERF_SMALL = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_ERF_MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)


def _ratio(x: Array, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    upper, lower = (0.0 * x + series[0] for series in coefficients)
    for a, b in zip(coefficients[0][1:], coefficients[1][1:], strict=True):
        upper, lower = upper * x + a, lower * x + b
    return upper / lower


def _erf(F: Namespace, x: Array) -> Array:
    x = _as_float(F, x)
    size = F.abs(x)
    near = F.where(size <= 0.5, x, F.zeros_like(x))
    # Beyond 6, erf is 1 to the last bit; the bound keeps the polynomials finite.
    far = F.where(size < 6, size, 6 * F.ones_like(x))
    inner = near * _ratio(near * near, _ERF_SMALL)
    outer = F.sign(x) * (1 - F.exp(-far * far) * _ratio(far, _ERF_MIDDLE))
    return F.where(F.isnan(x), x, F.where(size <= 0.5, inner, outer))


def _exp_of_square(F: Namespace, x: Array, rate: float) -> Array:
    """Return exp(rate · x²) for a negative rate, in which the rounding of x² is not multiplied by it.

    The square of x to four binary places is exact, and the rest is small. Beyond 40 the result is 0.
    """
    size = F.minimum(F.abs(_as_float(F, x)), _zero(F, x) + 40)
    rough = F.trunc(16 * size) / 16
    return F.exp(rate * rough * rough) * F.exp(rate * ((size - rough) * (size + rough)))


exp_of_square = transcendental(
    "exp_of_square",
    lambda F, out, x: -2 * (x * out),
    evaluate=lambda F, x: _exp_of_square(F, x, -1.0),
    poles=False,
    dtype="quotient",
    doc="exp(-x²), accurate in the tails.",
)
gaussian = transcendental(
    "gaussian",
    lambda F, out, x: -x * out,
    evaluate=lambda F, x: _exp_of_square(F, x, -0.5),
    poles=False,
    dtype="quotient",
    doc="exp(-x²/2), accurate in the tails.",
)
erf = transcendental(
    "erf",
    lambda F, out, x: _TWO_OVER_SQRT_PI * F.exp_of_square(x),
    evaluate=_erf,
    poles=False,
    dtype="quotient",
    doc="Error function, after Cody (1969); accurate to rounding.",
)

# (1 + 2z)·exp(z²)·erfc(z) for z >= 0, a polynomial in (z - 15/4) / (z + 15/4): a truncated Chebyshev series of relative
# error below 5e-18 before rounding. The form is that of M. M. Shepherd and J. G. Laframboise, Math. Comp. 36 (1981).
_ERFC_SCALED = (
    4.25147144511968839e-10,
    3.11143338112494699e-10,
    -5.17399021419893892e-9,
    -3.74421008104271242e-9,
    3.86753342426977211e-8,
    2.3263508709053865e-8,
    -2.58668507162249071e-7,
    -5.721823060349127e-8,
    1.75163764884969605e-6,
    -9.73559896736545424e-7,
    -1.14441462377009068e-5,
    2.23842391550821017e-5,
    5.16490988926825577e-5,
    -2.90154080540841664e-4,
    2.93713665591344779e-4,
    1.75562585289529535e-3,
    -9.74657955802927553e-3,
    2.83622774189564043e-2,
    -5.86933985896367741e-2,
    9.23043211603774778e-2,
    -1.08803930141748857e-1,
    8.22767384901452077e-2,
    3.58541548546442937e-3,
    -1.40240598585546962e-1,
    1.23751263083782758,
)


def _normal_cdf(F: Namespace, x: Array) -> Array:
    x = _as_float(F, x)
    size = _SQRT_HALF * F.minimum(F.abs(x), _zero(F, x) + 40)
    place = (size - 3.75) / (size + 3.75)
    series = 0.0 * place + _ERFC_SCALED[0]
    for coefficient in _ERFC_SCALED[1:]:
        series = series * place + coefficient
    tail = 0.5 * F.gaussian(x) * (series / (1 + 2 * size))
    return F.where(x < 0, tail, 1 - tail)


normal_cdf = transcendental(
    "normal_cdf",
    lambda F, out, x: _INV_SQRT_2PI * F.gaussian(x),
    evaluate=_normal_cdf,
    symbol="Φ",
    poles=False,
    dtype="quotient",
    doc="The normal distribution function, accurate in both tails.",
)


# Below the logarithm of the largest number of 2 and 4 bytes.
_LARGEST_EXPONENT = {2: 11.0, 4: 88.0}


def _sigmoid(F: Namespace, x: Array) -> Array:
    # Not through tanh, whose -1 would make 0 of what log(sigmoid(x)) needs: of all below -18 in float32.
    value, _ = _bounded_sigmoid(F, x)
    return F.where(x == -math.inf, F.zeros_like(value), value)


def _logistic(F: Namespace, x: Array) -> Array:
    value, bound = _bounded_sigmoid(F, x)
    return F.where(x < -bound, F.zeros_like(value), value)


def _bounded_sigmoid(F: Namespace, x: Array) -> tuple[Any, float]:
    """Return 1 / (1 + exp(-x)), and the bound below whose negative it does not fall."""
    kind_of = host.dtype(x.dtype)
    if kind_of.kind not in "fc":
        x = F.astype(x, F.float64)
    bound = _LARGEST_EXPONENT.get(kind_of.itemsize, 709.0) if kind_of.kind == "f" else 709.0
    return 1 / (1 + F.exp(F.minimum(-x, _zero(F, x) + bound))), bound


sigmoid = transcendental(
    "sigmoid",
    lambda F, out, x: out * (1 - out),
    evaluate=_sigmoid,
    symbol="σ",
    poles=False,
    dtype="quotient",
    doc="Logistic function 1 / (1 + exp(-x)).",
)
# What derivatives of softplus are made of: the lecture's rule of sigmoid has no bits left where its value is near 1.
logistic = transcendental(
    "logistic",
    lambda F, out, x: out * F.logistic(-x),
    evaluate=_logistic,
    symbol="σ",
    poles=False,
    dtype="quotient",
    doc="sigmoid, with a derivative that is accurate in both tails.",
)
softplus = transcendental(
    "softplus",
    lambda F, out, x: F.logistic(x),
    evaluate=lambda F, x: F.logaddexp(x, F.zeros_like(x)),
    poles=False,
    doc="log(1 + exp(x)), without overflow.",
)
relu = elementwise(
    "relu",
    lambda F, out, x: _mask(F, ~(out <= 0), out),
    evaluate=lambda F, x: F.maximum(x, _zero(F, x)),
    work="comparison",
    poles=False,
    chooses=True,
    doc="max(x, 0); derivative 0 at 0, and 1 at NaN.",
)
leaky_relu = elementwise(
    "leaky_relu",
    lambda F, out, x, slope=0.01: _known(F, x, _mask(F, x > 0, out) * (1 - slope) + slope),
    dtype="quotient",
    evaluate=lambda F, x, *, slope=0.01: F.where(x > 0, x, slope * x),
    work="comparison",
    poles=False,
    doc="x for x > 0, slope·x elsewhere (slope 0.01).",
)
elu = transcendental(
    "elu",
    # Not out + alpha: in what is close to -alpha there are no bits left of exp(x).
    lambda F, out, x, alpha=1.0: F.where(x > 0, F.ones_like(x), alpha * F.exp(F.minimum(x, _zero(F, x)))),
    evaluate=lambda F, x, *, alpha=1.0: F.where(x > 0, x, alpha * F.expm1(F.minimum(x, _zero(F, x)))),
    poles=False,
    doc="x for x > 0, alpha·(exp(x) - 1) elsewhere.",
)
gelu = transcendental(
    "gelu",
    lambda F, out, x: F.normal_cdf(x) + x * (_INV_SQRT_2PI * F.gaussian(x)),
    evaluate=lambda F, x: x * F.normal_cdf(x),
    poles=False,
    dtype="quotient",
    doc="x·Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016), the exact form.",
)


def _between(F: Namespace, x: Array, bound: int) -> Array:
    kind = host.dtype(x.dtype).kind
    if kind in "bu":  # which has no negative numbers
        return x if kind == "b" else F.minimum(x, _zero(F, x) + bound)
    return F.minimum(F.maximum(x, _zero(F, x) - bound), _zero(F, x) + bound)


def _gelu_inner(F: Namespace, x: Array) -> tuple[Any, Any, Any]:
    """Return tanh u of u = sqrt(2/π)·(x + 0.044715·x³), and the first two derivatives of u.

    Beyond ±20 tanh u is ±1 to the last bit, and its derivatives are 0, whatever x is: there they are taken at ±20.
    """
    x = _between(F, x, 20)
    square = x * x
    inner = F.tanh(_SQRT_TWO_OVER_PI * x * (1 + _GELU_CUBE * square))
    return inner, _SQRT_TWO_OVER_PI * (1 + 3 * _GELU_CUBE * square), 6 * _SQRT_TWO_OVER_PI * _GELU_CUBE * x


def _gelu_slope(F: Namespace, x: Array) -> Array:
    inner, first, _ = _gelu_inner(F, x)
    result: Array = 0.5 * (1 + inner) + 0.5 * (x * (1 - inner * inner)) * first
    return result


def _gelu_slope_partial(F: Namespace, out: Array, x: Array) -> Array:
    inner, first, second = _gelu_inner(F, x)
    falling = 1 - inner * inner
    result: Array = falling * first + 0.5 * (x * falling) * (second - 2 * inner * first * first)
    return result


gelu_tanh_slope = transcendental(
    "gelu_tanh_slope",
    _gelu_slope_partial,
    evaluate=_gelu_slope,
    poles=False,
    dtype="quotient",
    doc="The derivative of gelu_tanh.",
)
# Its derivative is an op of its own: a GPU's library of products computes both along with one.
gelu_tanh = transcendental(
    "gelu_tanh",
    lambda F, out, x: F.gelu_tanh_slope(x),
    evaluate=lambda F, x: 0.5 * x * (1 + _gelu_inner(F, x)[0]),
    poles=False,
    dtype="quotient",
    doc="x/2·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³))): within 5e-4 of gelu (Hendrycks and Gimpel, 2016).",
)
hard_tanh = elementwise(
    "hard_tanh",
    lambda F, out, x: _known(F, x, _mask(F, (x > -1) & (x < 1), out)),
    evaluate=lambda F, x: _between(F, x, 1),
    work="comparison",
    poles=False,
    chooses=True,
    doc="x clipped to [-1, 1]; derivative 0 at ±1, as PyTorch's hardtanh has it.",
)
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


def _share(F: Namespace, wins: Array, ties: Array, like: Array) -> Array:
    return _known(F, like, _mask(F, wins, like) + 0.5 * _mask(F, ties, like))


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


# Selection ---------------------------------------------------------------------------------------------------


def _where_tangent(
    F: Namespace, tangents: Sequence[Array | None], out: Array, condition: Array, x: Array, y: Array
) -> Array:
    chosen, other = (F.zeros_like(out) if tangent is None else tangent for tangent in tangents[1:])
    return F.where(condition, chosen, other)


def _where_adjoint(
    F: Namespace, cotangent: Array, position: int, out: Array, condition: Array, x: Array, y: Array
) -> Array | None:
    if position == 0:
        return None
    zero = F.zeros_like(cotangent)
    return F.where(condition, cotangent, zero) if position == 1 else F.where(condition, zero, cotangent)


_where: Applied = custom(
    "where",
    tangent=_where_tangent,
    adjoint=_where_adjoint,
    infer=lambda condition, x, y: (
        host.broadcast_shapes(condition.shape, x.shape, y.shape),
        host.result_dtype(x.dtype, y.dtype),
    ),
    work="move",
    poles=False,
    chooses=True,
    doc="x where the condition holds, y elsewhere. The branch not taken contributes exactly zero to every derivative.",
)


@function(name="where")
def where(condition: ArrayLike, x: ArrayLike | None = None, y: ArrayLike | None = None, /) -> Any:
    """Return x where the condition holds, y elsewhere; the branch not taken adds exactly zero to every derivative.

    With the condition alone it is `nonzero`, as NumPy has it.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.where(gd.constant([True, False]), 1.0, 2.0).tolist()
    [1.0, 2.0]
    """
    if x is None and y is None:
        return FUNCTIONS["nonzero"](condition)
    if x is None or y is None:
        raise OpError("where takes a condition and two values to choose from, or a condition alone")
    return _where(condition, x, y)


where.op = _where.op  # type: ignore[attr-defined]


_clip = elementwise(
    "clip",
    lambda F, out, x, lower, upper: _known(F, out, _mask(F, (x >= lower) & (x <= upper), out)),
    lambda F, out, x, lower, upper: _known(F, out, _mask(F, (x < lower) & (lower <= upper), out)),
    lambda F, out, x, lower, upper: _known(F, out, _mask(F, F.maximum(x, lower) > upper, out)),
    evaluate=lambda F, x, lower, upper: F.minimum(F.maximum(x, lower), upper),
    work="comparison",
    poles=False,
    chooses=True,
    doc="x limited to [lower, upper]; derivative 1 at the bounds.",
)


@function(name="clip")
def clip(x: ArrayLike, /, min: Any = None, max: Any = None) -> Tensor:
    """Limit x to [min, max]; either may be None. The derivative is 1 at the bounds."""
    x = as_tensor(x)
    if x.dtype.kind in "iu":
        lowest, highest = host.integer_limits(x.dtype)
    else:
        lowest, highest = -math.inf, math.inf  # type: ignore[assignment]
    return _clip(x, lowest if min is None else min, highest if max is None else max)


clip.op = _clip.op  # type: ignore[attr-defined]

for _alias, _name in {
    "absolute": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "true_divide": "divide",
    "mod": "remainder",
    "invert": "bitwise_invert",
    "fabs": "abs",
}.items():
    FUNCTIONS[_alias] = FUNCTIONS[_name]
