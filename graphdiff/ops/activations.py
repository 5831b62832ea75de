"""Activations: sigmoid, softplus and the bends that networks are made of."""

from __future__ import annotations

import math
from typing import Any

from graphdiff import host
from graphdiff.op import elementwise
from graphdiff.ops.elementwise import known, mask, transcendental, zero
from graphdiff.typing import Array, Namespace

_SQRT_TWO_OVER_PI = math.sqrt(2 / math.pi)
_GELU_CUBE = 0.044715
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

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
    return 1 / (1 + F.exp(F.minimum(-x, zero(F, x) + bound))), bound


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
    internal=True,
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
    lambda F, out, x: mask(F, ~(out <= 0), out),
    evaluate=lambda F, x: F.maximum(x, zero(F, x)),
    work="comparison",
    poles=False,
    chooses=True,
    doc="max(x, 0); derivative 0 at 0, and 1 at NaN.",
)
leaky_relu = elementwise(
    "leaky_relu",
    lambda F, out, x, slope=0.01: known(F, x, mask(F, x > 0, out) * (1 - slope) + slope),
    dtype="quotient",
    evaluate=lambda F, x, *, slope=0.01: F.where(x > 0, x, slope * x),
    work="comparison",
    poles=False,
    doc="x for x > 0, slope·x elsewhere (slope 0.01).",
)
elu = transcendental(
    "elu",
    # Not out + alpha: in what is close to -alpha there are no bits left of exp(x).
    lambda F, out, x, alpha=1.0: F.where(x > 0, F.ones_like(x), alpha * F.exp(F.minimum(x, zero(F, x)))),
    evaluate=lambda F, x, *, alpha=1.0: F.where(x > 0, x, alpha * F.expm1(F.minimum(x, zero(F, x)))),
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
        return x if kind == "b" else F.minimum(x, zero(F, x) + bound)
    return F.minimum(F.maximum(x, zero(F, x) - bound), zero(F, x) + bound)


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
    internal=True,
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
    lambda F, out, x: known(F, x, mask(F, (x > -1) & (x < 1), out)),
    evaluate=lambda F, x: _between(F, x, 1),
    work="comparison",
    poles=False,
    chooses=True,
    doc="x clipped to [-1, 1]; derivative 0 at ±1, as PyTorch's hardtanh has it.",
)
