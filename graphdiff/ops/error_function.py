"""The error function and what is made of it, to the last bits in the tails."""

from __future__ import annotations

import math

from graphdiff.ops.elementwise import as_float, transcendental, zero
from graphdiff.typing import Array, Namespace

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

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
    x = as_float(F, x)
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
    size = F.minimum(F.abs(as_float(F, x)), zero(F, x) + 40)
    rough = F.trunc(16 * size) / 16
    return F.exp(rate * rough * rough) * F.exp(rate * ((size - rough) * (size + rough)))


exp_of_square = transcendental(
    "exp_of_square",
    lambda F, out, x: -2 * (x * out),
    evaluate=lambda F, x: _exp_of_square(F, x, -1.0),
    poles=False,
    dtype="quotient",
    doc="exp(-x²), accurate in the tails.",
    internal=True,
)
gaussian = transcendental(
    "gaussian",
    lambda F, out, x: -x * out,
    evaluate=lambda F, x: _exp_of_square(F, x, -0.5),
    poles=False,
    dtype="quotient",
    doc="exp(-x²/2), accurate in the tails.",
    internal=True,
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
    x = as_float(F, x)
    size = _SQRT_HALF * F.minimum(F.abs(x), zero(F, x) + 40)
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
