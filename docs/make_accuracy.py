"""Write docs/accuracy.md: how far elementwise ops and losses, and their derivatives, are from the exact numbers.

Exact is what mpmath computes with 50 digits. Points lie over all exponents of a dtype, and closely where functions
turn. Errors are counted in units in the last place (ulp) of the exact result, or of the largest term of its formula
where terms of either sign cancel. A result below the smallest normal number may be 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

import graphdiff as gd
from graphdiff.op import FUNCTIONS

PAGE = Path(__file__).parent / "accuracy.md"
LIMIT = 8.0
"""What no error is above, in ulp, but for the exceptions."""
DTYPES = "float32", "float64"

HEAD = """# Accuracy

The worst errors of elementwise ops and losses, of their values and of their first derivatives, reverse and forward,
over the whole range of float32 and float64, in units in the last place of the exact result: or, where terms of either
sign cancel, of the largest term of its formula. A result below the smallest normal number may be 0. Exact is what
mpmath computes with 50 digits. This page is written by `python docs/make_accuracy.py` on NumPy's arrays, and a test
keeps it true: no error is above 8 but those of the exceptions below.

Ops that are exact, such as `abs`, `floor` or `maximum`, have errors of 0. Points at which neither the result nor its
derivative is a finite number are left out.
"""

Exact = Callable[..., Any]


@dataclass
class Case:
    """A function with its exact value and partial derivatives.

    Attributes
    ----------
    value : callable
        Of mpmath's numbers.
    partials : sequence of callable
        By each argument.
    domain : callable, optional
        Whether a point belongs to it; of mpmath's numbers.
    near : sequence of float
        Where points lie closely besides everywhere.
    terms : sequence of callable
        The size of the largest term of the value, and of each partial derivative, where terms cancel.
    function : callable, optional
        By default graphdiff's of the case's name. It takes arrays, element by element.
    """

    value: Exact
    partials: Sequence[Exact]
    domain: Callable[..., bool] | None = None
    near: Sequence[float] = ()
    terms: dict[int, Exact] = field(default_factory=dict)
    function: Callable[..., Any] | None = None


one, zero = mp.mpf(1), mp.mpf(0)


def sigmoid(x: Any) -> Any:
    """Return the logistic function."""
    return 1 / (1 + mp.exp(-x)) if x > -5000 else mp.exp(x)


def softplus(x: Any) -> Any:
    """Return log(1 + exp(x))."""
    return mp.log1p(mp.exp(x)) if x < 5000 else x


def step(x: Any) -> Any:
    """Return 1 above 0 and 0 elsewhere."""
    return one if x > 0 else zero


def normal_cdf(x: Any) -> Any:
    """Return the normal distribution function."""
    return mp.erfc(-x / mp.sqrt(2)) / 2 if abs(x) < 1000 else step(x)


def density(x: Any) -> Any:
    """Return the normal density."""
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


GELU_CUBE, GELU_RATE = mp.mpf(0.044715), mp.sqrt(2 / mp.pi)


def bent(x: Any) -> tuple[Any, Any, Any]:
    """Return u = sqrt(2/π)·(x + 0.044715·x³) and its derivatives."""
    return (
        GELU_RATE * (x + GELU_CUBE * x**3),
        GELU_RATE * (1 + 3 * GELU_CUBE * x * x),
        GELU_RATE * 6 * GELU_CUBE * x,
    )


def gelu_tanh(x: Any) -> Any:
    """Return x·sigmoid(2u)."""
    return x * sigmoid(2 * bent(x)[0])


def gelu_tanh_slope(x: Any) -> Any:
    """Return the derivative of gelu_tanh."""
    u, first, _ = bent(x)
    return sigmoid(2 * u) + 2 * x * sigmoid(2 * u) * sigmoid(-2 * u) * first


def gelu_tanh_curve(x: Any) -> Any:
    """Return the second derivative of gelu_tanh."""
    u, first, second = bent(x)
    s, t = sigmoid(2 * u), sigmoid(-2 * u)
    return 2 * s * t * (2 * first + x * second + 2 * x * (t - s) * first**2)


def logsum(x: Any, y: Any) -> Any:
    """Return log(exp(x) + exp(y))."""
    return max(x, y) + mp.log1p(mp.exp(-abs(x - y)))


def share(x: Any, y: Any) -> Any:
    """Return the share of x in the greater of x and y."""
    return one if x > y else zero if x < y else one / 2


def whole(rounded: Callable[[float], float]) -> Exact:
    """Return a rounding of Python's or NumPy's as a function of mpmath's numbers, which hold floats here."""
    return lambda x: mp.mpf(float(rounded(float(x))))


ROOT = -0.7517915246935645  # of the derivative of gelu
CASES: dict[str, Case] = {
    "negative": Case(lambda x: -x, [lambda x: -one]),
    "positive": Case(lambda x: x, [lambda x: one]),
    "abs": Case(abs, [mp.sign]),
    "sign": Case(mp.sign, [lambda x: zero]),
    "floor": Case(mp.floor, [lambda x: zero], near=[1, 2]),
    "ceil": Case(mp.ceil, [lambda x: zero], near=[1, 2]),
    "round": Case(whole(np.rint), [lambda x: zero], near=[0.5, 1.5]),
    "trunc": Case(whole(np.trunc), [lambda x: zero], near=[1, 2]),
    "stop_gradient": Case(lambda x: x, [lambda x: zero]),
    "square": Case(lambda x: x * x, [lambda x: 2 * x]),
    "sqrt": Case(mp.sqrt, [lambda x: 0.5 / mp.sqrt(x)], lambda x: x > 0),
    "cbrt": Case(lambda x: mp.sign(x) * mp.cbrt(abs(x)), [lambda x: 1 / (3 * mp.cbrt(abs(x)) ** 2)], lambda x: x != 0),
    "reciprocal": Case(lambda x: 1 / x, [lambda x: -1 / x**2], lambda x: x != 0),
    "exp": Case(mp.exp, [mp.exp], near=[-40, 709]),
    "expm1": Case(mp.expm1, [mp.exp], near=[0, -40]),
    "log": Case(mp.log, [lambda x: 1 / x], lambda x: x > 0, [1]),
    "log1p": Case(mp.log1p, [lambda x: 1 / (1 + x)], lambda x: x > -1, [-1, 0]),
    "log2": Case(lambda x: mp.log(x, 2), [lambda x: 1 / (x * mp.log(2))], lambda x: x > 0, [1]),
    "log10": Case(lambda x: mp.log(x, 10), [lambda x: 1 / (x * mp.log(10))], lambda x: x > 0, [1]),
    "exp2": Case(lambda x: mp.mpf(2) ** x, [lambda x: mp.log(2) * mp.mpf(2) ** x]),
    "deg2rad": Case(lambda x: x * mp.pi / 180, [lambda x: mp.pi / 180]),
    "rad2deg": Case(lambda x: x * 180 / mp.pi, [lambda x: 180 / mp.pi]),
    "sin": Case(mp.sin, [mp.cos], near=[1.5707963267948966, 3.141592653589793]),
    "cos": Case(mp.cos, [lambda x: -mp.sin(x)], near=[1.5707963267948966, 3.141592653589793]),
    "tan": Case(mp.tan, [lambda x: 1 + mp.tan(x) ** 2], near=[1.5707963267948966, 3.141592653589793]),
    "asin": Case(mp.asin, [lambda x: 1 / mp.sqrt((1 - x) * (1 + x))], lambda x: abs(x) < 1, [1, -1]),
    "acos": Case(mp.acos, [lambda x: -1 / mp.sqrt((1 - x) * (1 + x))], lambda x: abs(x) < 1, [1, -1]),
    "atan": Case(mp.atan, [lambda x: 1 / (1 + x * x)]),
    "sinh": Case(mp.sinh, [mp.cosh], near=[709]),
    "cosh": Case(mp.cosh, [mp.sinh], near=[709]),
    "tanh": Case(mp.tanh, [lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x)]),
    "asinh": Case(mp.asinh, [lambda x: 1 / mp.sqrt(1 + x * x)], near=[0]),
    "acosh": Case(mp.acosh, [lambda x: 1 / (mp.sqrt(x - 1) * mp.sqrt(x + 1))], lambda x: x > 1, [1]),
    "atanh": Case(mp.atanh, [lambda x: 1 / ((1 - x) * (1 + x))], lambda x: abs(x) < 1, [1, -1]),
    "erf": Case(mp.erf, [lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)], near=[0.5, 6]),
    "exp_of_square": Case(lambda x: mp.exp(-x * x), [lambda x: -2 * x * mp.exp(-x * x)]),
    "gaussian": Case(lambda x: mp.exp(-x * x / 2), [lambda x: -x * mp.exp(-x * x / 2)]),
    "normal_cdf": Case(normal_cdf, [density]),
    "sigmoid": Case(sigmoid, [lambda x: sigmoid(x) * sigmoid(-x)], near=[-709, -88, 40]),
    "logistic": Case(sigmoid, [lambda x: sigmoid(x) * sigmoid(-x)], near=[-709, -88, 40]),
    "softplus": Case(softplus, [sigmoid], near=[40, -40]),
    "relu": Case(lambda x: max(x, zero), [step]),
    "leaky_relu": Case(lambda x: x if x > 0 else mp.mpf(0.01) * x, [lambda x: one if x > 0 else mp.mpf(0.01)]),
    "elu": Case(lambda x: x if x > 0 else mp.expm1(x), [lambda x: one if x > 0 else mp.exp(x)], near=[0, -40]),
    "gelu": Case(
        lambda x: x * normal_cdf(x),
        [lambda x: normal_cdf(x) + x * density(x)],
        near=[ROOT, -10],
        terms={1: lambda x: max(normal_cdf(x), abs(x) * density(x))},
    ),
    "gelu_tanh": Case(gelu_tanh, [gelu_tanh_slope], near=[ROOT], terms={1: lambda x: sigmoid(2 * bent(x)[0])}),
    "gelu_tanh_slope": Case(gelu_tanh_slope, [gelu_tanh_curve]),
    "hard_tanh": Case(lambda x: min(max(x, -one), one), [lambda x: one if -1 < x < 1 else zero], near=[1, -1]),
    "nan_to_num": Case(lambda x: x, [lambda x: one]),
    "add": Case(lambda x, y: x + y, [lambda x, y: one, lambda x, y: one]),
    "subtract": Case(lambda x, y: x - y, [lambda x, y: one, lambda x, y: -one]),
    "multiply": Case(lambda x, y: x * y, [lambda x, y: y, lambda x, y: x]),
    "divide": Case(lambda x, y: x / y, [lambda x, y: 1 / y, lambda x, y: -x / y**2], lambda x, y: y != 0),
    "over_length": Case(lambda x, y: x / y, [lambda x, y: 1 / y, lambda x, y: -x / y**2], lambda x, y: y > 0),
    "power": Case(
        lambda x, y: x**y,
        [lambda x, y: y * x ** (y - 1), lambda x, y: x**y * mp.log(x)],
        lambda x, y: x > 0 and abs(y * mp.log(x)) < 1000,
    ),
    "maximum": Case(max, [share, lambda x, y: share(y, x)]),
    "minimum": Case(min, [lambda x, y: share(y, x), share]),
    "atan2": Case(
        lambda y, x: mp.atan2(y, x),
        [lambda y, x: x / (x * x + y * y), lambda y, x: -y / (x * x + y * y)],
        lambda y, x: x != 0 or y != 0,
    ),
    "hypot": Case(
        lambda x, y: mp.sqrt(x * x + y * y),
        [lambda x, y: x / mp.sqrt(x * x + y * y), lambda x, y: y / mp.sqrt(x * x + y * y)],
        lambda x, y: x != 0 or y != 0,
    ),
    "logaddexp": Case(
        logsum,
        [lambda x, y: sigmoid(x - y), lambda x, y: sigmoid(y - x)],
        terms={0: lambda x, y: max(abs(max(x, y)), mp.log1p(mp.exp(-abs(x - y))))},
    ),
    "floor_divide": Case(
        whole_quotient := lambda x, y: mp.floor(x / y),
        [lambda x, y: zero] * 2,
        lambda x, y: y != 0 and abs(x / y) < 1e6,
    ),
    "remainder": Case(
        lambda x, y: x - whole_quotient(x, y) * y,
        [lambda x, y: one, lambda x, y: -whole_quotient(x, y)],
        lambda x, y: y != 0 and abs(x / y) < 1e6,
        terms={0: lambda x, y: max(abs(x), abs(y))},
    ),
    "clip": Case(
        lambda x, low, high: min(max(x, low), high),
        [
            lambda x, low, high: one if low <= x <= high else zero,
            lambda x, low, high: one if x < low <= high else zero,
            lambda x, low, high: one if max(x, low) > high else zero,
        ],
    ),
}


def of_logits(labels: Any, **options: Any) -> Callable[..., Any]:
    """Return the cross-entropy of one row of two logits."""
    return lambda x, y: gd.nn.softmax_cross_entropy(gd.reshape(gd.stack([x, y]), (1, 2)), labels, **options)


def binary(label: Any, **options: Any) -> Callable[..., Any]:
    """Return the binary cross-entropy of one logit."""
    return lambda z: gd.nn.binary_cross_entropy(gd.reshape(z, (1,)), np.array([label]), **options)


def pair(loss: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return a loss of one prediction and one target."""
    return lambda x, y: loss(gd.reshape(x, (1,)), gd.reshape(y, (1,)), **options)


def huber(x: Any, y: Any) -> Any:
    """Return Huber's loss with delta 1."""
    size = abs(x - y)
    return size * size / 2 if size <= 1 else size - one / 2


def row(function: Callable[..., Any], place: int | None) -> Callable[..., Any]:
    """Return one element of a function of rows of two, or its only value."""

    def applied(x: Any, y: Any) -> Any:
        made = function(gd.stack([x, y]))
        return made if place is None else made[place]

    return applied


SMOOTH = mp.mpf(0.1)
LOSSES: dict[str, Case] = {
    "squared_error": Case(
        lambda x, y: (x - y) ** 2,
        [lambda x, y: 2 * (x - y), lambda x, y: -2 * (x - y)],
        function=pair(gd.nn.squared_error),
    ),
    "absolute_error": Case(
        lambda x, y: abs(x - y),
        [lambda x, y: mp.sign(x - y), lambda x, y: -mp.sign(x - y)],
        function=pair(gd.nn.absolute_error),
    ),
    "huber": Case(
        huber,
        [lambda x, y: min(max(x - y, -one), one), lambda x, y: min(max(y - x, -one), one)],
        function=pair(gd.nn.huber),
    ),
    "binary_cross_entropy, label 1": Case(
        lambda z: softplus(-z), [lambda z: -sigmoid(-z)], near=[40, -40], function=binary(1)
    ),
    "binary_cross_entropy, label 0": Case(softplus, [sigmoid], near=[40, -40], function=binary(0)),
    "binary_cross_entropy, label 1/4": Case(
        lambda z: softplus(-z) / 4 + 3 * softplus(z) / 4,
        [lambda z: sigmoid(z) - one / 4],
        near=[-1.0986122886681098],
        terms={1: lambda z: sigmoid(z) + one / 4},
        function=binary(0.25),
    ),
    "binary_cross_entropy, positive_weight 3": Case(
        lambda z: 3 * softplus(-z), [lambda z: -3 * sigmoid(-z)], function=binary(1, positive_weight=3.0)
    ),
    "softmax_cross_entropy": Case(
        lambda x, y: softplus(y - x),
        [lambda x, y: -sigmoid(y - x), lambda x, y: sigmoid(y - x)],
        function=of_logits(np.array([0])),
    ),
    "softmax_cross_entropy, probabilities": Case(
        lambda x, y: softplus(y - x) / 4 + 3 * softplus(x - y) / 4,
        [lambda x, y: sigmoid(x - y) - one / 4, lambda x, y: sigmoid(y - x) - 3 * one / 4],
        terms={1: lambda x, y: one, 2: lambda x, y: one},
        function=of_logits(np.array([[0.25, 0.75]])),
    ),
    "softmax_cross_entropy, label_smoothing 1/2": Case(
        lambda x, y: softplus(y - x) * 3 / 4 + softplus(x - y) / 4,
        [lambda x, y: sigmoid(x - y) - 3 * one / 4, lambda x, y: sigmoid(y - x) - one / 4],
        terms={1: lambda x, y: one, 2: lambda x, y: one},
        function=of_logits(np.array([0]), label_smoothing=0.5),
    ),
    "hinge": Case(
        lambda s: max(zero, 1 - s),
        [lambda s: -one if s < 1 else zero],
        near=[1],
        function=lambda s: gd.nn.hinge(gd.reshape(s, (1,)), np.array([1])),
    ),
    "hinge, classes": Case(
        lambda x, y: max(zero, 1 + y - x),
        [lambda x, y: -one if 1 + y - x > 0 else zero, lambda x, y: one if 1 + y - x > 0 else zero],
        lambda x, y: abs(1 + y - x) > 1e-5 * max(abs(x), abs(y), one),
        terms={0: lambda x, y: max(abs(x), abs(y), one)},
        function=lambda x, y: gd.nn.hinge(gd.reshape(gd.stack([x, y]), (1, 2)), np.array([0])),
    ),
    "kl_divergence": Case(
        lambda p, t: t * (mp.log(t) - p),
        [lambda p, t: -t, lambda p, t: mp.log(t) - p + 1],
        lambda p, t: t > 0,
        terms={
            0: lambda p, t: t * max(abs(mp.log(t)), abs(p)),
            2: lambda p, t: max(abs(mp.log(t)), abs(p), one),
        },
        function=lambda p, t: gd.nn.kl_divergence(gd.reshape(p, (1, 1)), gd.reshape(t, (1, 1))),
    ),
    "l1_penalty": Case(abs, [mp.sign], function=lambda w: gd.nn.l1_penalty([w])),
    "l2_penalty": Case(lambda w: w * w / 2, [lambda w: w], function=lambda w: gd.nn.l2_penalty([w])),
    "logsumexp": Case(
        logsum,
        [lambda x, y: sigmoid(x - y), lambda x, y: sigmoid(y - x)],
        terms={0: lambda x, y: max(abs(max(x, y)), mp.log1p(mp.exp(-abs(x - y))))},
        function=row(gd.logsumexp, None),
    ),
    "softmax": Case(
        lambda x, y: sigmoid(x - y),
        [lambda x, y: sigmoid(x - y) * sigmoid(y - x), lambda x, y: -sigmoid(x - y) * sigmoid(y - x)],
        function=row(gd.softmax, 0),
    ),
    "log_softmax": Case(
        lambda x, y: -softplus(y - x),
        [lambda x, y: sigmoid(y - x), lambda x, y: -sigmoid(y - x)],
        function=row(gd.log_softmax, 0),
    ),
}


# Points ----------------------------------------------------------------------------------------------------------


def spread(dtype: Any, stream: Any, count: int) -> Any:
    """Return numbers of both signs over all exponents, subnormal ones too."""
    limits = np.finfo(dtype)
    exponents = stream.uniform(limits.minexp - limits.nmant, limits.maxexp, count)
    return (np.ldexp(stream.choice([-1.0, 1.0], count), 0) * np.exp2(exponents)).astype(dtype)


def moderate(dtype: Any, stream: Any, count: int) -> Any:
    """Return numbers of both signs between 1/1000 and 1000."""
    return (stream.choice([-1.0, 1.0], count) * 10 ** stream.uniform(-3, 3, count)).astype(dtype)


def beside(place: float, dtype: Any, stream: Any) -> Any:
    """Return the numbers next to a place, and some that come close to it."""
    centre = np.asarray(place, dtype)
    made = [centre + k * np.spacing(centre) for k in range(-4, 5)]
    steps = 10 ** stream.uniform(-12, 0, 16) * stream.choice([-1, 1], 16) * max(abs(place), 1)
    return np.array([*made, *(place + steps)], dtype)


def points(case: Case, dtype: Any) -> list[Any]:
    """Return arrays of arguments, within the domain."""
    stream = np.random.default_rng(0)
    many = len(case.partials)
    if many == 1:
        parts = [spread(dtype, stream, 120), moderate(dtype, stream, 120), np.array([1, -1, 0.5, 0], dtype)]
        columns = [np.concatenate([*parts, *(beside(place, dtype, stream) for place in case.near)])]
    else:
        x = [spread(dtype, stream, 80), moderate(dtype, stream, 160), np.array([1, 0, 0, 2], dtype)]
        rest = []
        for _ in range(many - 1):
            close = x[1][80:] * (1 + 10 ** stream.uniform(-8, 0, 80)).astype(dtype) * stream.choice([-1, 1], 80)
            rest.append([spread(dtype, stream, 80), moderate(dtype, stream, 80), close, np.array([1, 1, -1, 0.5])])
        columns = [np.concatenate(x), *(np.concatenate(each).astype(dtype) for each in rest)]
    if case.domain is None:
        return columns
    exact = [[mp.mpf(float(v)) for v in point] for point in zip(*columns, strict=True)]
    inside = np.array([case.domain(*point) for point in exact])
    return [column[inside] for column in columns]


# Errors ----------------------------------------------------------------------------------------------------------


def ulps(computed: Any, exact: Any, term: Any, dtype: Any) -> float:
    """Return an error in units in the last place of the larger of the exact result and a term."""
    limits = np.finfo(dtype)
    largest, least = mp.mpf(float(limits.max)), mp.mpf(float(limits.tiny))
    computed = float(computed)
    if np.isinf(computed) or abs(exact) > largest:
        right = abs(exact) >= largest * (1 - 16 * limits.eps) and abs(computed) >= largest * (1 - 16 * limits.eps)
        return 0.0 if right and computed * mp.sign(exact) > 0 else np.inf
    if np.isnan(computed):
        return np.inf
    difference = abs(mp.mpf(computed) - exact)
    if abs(exact) < least and difference <= least:
        return 0.0
    scale = max(abs(exact), abs(term), least)
    return float(difference / mp.ldexp(one, mp.frexp(scale)[1] - limits.nmant - 1))


@dataclass
class Worst:
    """The worst error of a column of the table, and where it is."""

    error: float = 0.0
    place: tuple[float, ...] = ()

    def __str__(self) -> str:
        if not self.error:
            return "0"
        where = ", ".join(f"{number:.4g}" for number in self.place)
        return f"{rounded(self.error)} at {where}"


def rounded(error: float) -> str:
    """Return an error as the table has it: in half units, large ones to a digit."""
    return "∞" if np.isinf(error) else f"{np.ceil(2 * error) / 2:g}" if error < 100 else f"{error:.0e}"


def computed(function: Callable[..., Any], arrays: Sequence[Any]) -> list[list[Any]]:
    """Return the value, and each partial derivative in reverse and in forward mode: lists of what should agree."""
    every = tuple(range(len(arrays)))
    reverse = gd.grad(lambda *given: gd.sum(function(*given)), every)(*arrays)
    found = [[gd.constant(function(*arrays)).numpy()]]
    for position, array in enumerate(arrays):

        def alone(given: Any, position: int = position) -> Any:
            return function(*arrays[:position], given, *arrays[position + 1 :])

        found.append([reverse[position].numpy(), gd.jvp(alone, (array,), (np.ones_like(array),))[1].numpy()])
    return found


def of_rows(function: Callable[..., Any], arrays: Sequence[Any]) -> list[list[Any]]:
    """Return the same for a function of one point at a time."""
    rows = [computed(function, point) for point in zip(*arrays, strict=True)]
    return [[np.array(column) for column in zip(*results, strict=True)] for results in zip(*rows, strict=True)]


def measured(name: str, case: Case, dtype: str) -> list[Worst]:
    """Return the worst errors of the value and of the derivatives."""
    arrays = points(case, dtype)
    function = case.function or FUNCTIONS[name]
    if name in LOSSES:
        arrays = [array[::3] for array in arrays]
    with np.errstate(all="ignore"), mp.workdps(50):
        columns = (of_rows if name in LOSSES else computed)(function, arrays)
        return _worst(case, dtype, arrays, columns)


def _worst(case: Case, dtype: str, arrays: list[Any], columns: list[list[Any]]) -> list[Worst]:
    worst = [Worst(), Worst()]
    exact = [[mp.mpf(float(number)) for number in point] for point in zip(*arrays, strict=True)]
    for column, results in enumerate(columns):
        rule = case.value if column == 0 else case.partials[column - 1]
        term = case.terms.get(column, lambda *_: zero)
        kept = worst[min(column, 1)]
        for place, point in enumerate(exact):
            right, scale = rule(*point), term(*point)
            for result in results:
                error = ulps(result[place], right, scale, dtype)
                if error > kept.error:
                    kept.error, kept.place = error, tuple(float(number) for number in point)
    return worst


# The page --------------------------------------------------------------------------------------------------------

DIFFERENCE = (
    "The difference of the arguments is rounded, and exp multiplies that by its size, up to 700 (in float32 88): as in "
    "PyTorch and JAX."
)
LECTURE = (
    "lost where the result is close to a bound. The lecture's rule stays, as in PyTorch and JAX: it costs no second"
)
EXCEPTIONS: dict[str, str] = {
    "tanh": f"1 − z² is {LECTURE} exponential.",
    "sigmoid": f"z·(1 − z) is {LECTURE} exponential. Derivatives of `softplus` and `logaddexp` do not use it.",
    "gelu_tanh": "1 + tanh is lost in the lower tail: the function is defined by tanh, itself within 5e-4 of `gelu`, "
    "and computed so in PyTorch, JAX and the GPU's libraries.",
    "gelu_tanh_slope": "As `gelu_tanh`.",
    "power": "y·x^(y − 1), as a lecture writes it: y − 1 is rounded, and the power of x multiplies that by up to 700; "
    "x^(y − 1) overflows where x is subnormal. Exact for exponents such as 2, 3, 0.5 or -1.",
    "logaddexp": DIFFERENCE,
    "logsumexp": DIFFERENCE,
    "softmax": f"{DIFFERENCE} And diag(p) − p·pᵀ is {LECTURE} pass.",
    "log_softmax": f"{DIFFERENCE} And the logarithm of a sum close to 1 is lost, as is its derivative 1 − p: as in "
    "PyTorch and JAX.",
    "softmax_cross_entropy": "As `log_softmax`: p − y is the lecture's rule. `binary_cross_entropy` keeps both tails.",
}
"""Why an error is above the limit."""


def rows(cases: dict[str, Case]) -> Iterator[tuple[str, str, list[Worst]]]:
    """Yield function, dtype and worst errors, of those that are not exact."""
    for name, case in cases.items():
        for dtype in DTYPES:
            yield name, dtype, measured(name, case, dtype)


def table(cases: dict[str, Case]) -> str:
    """Return a table of worst errors."""
    lines = ["| function | dtype | value | derivatives |", "|---|---|---|---|"]
    for name, dtype, worst in rows(cases):
        lines.append(f"| `{name}` | {dtype} | {worst[0]} | {worst[1]} |")
    return "\n".join(lines)


def page() -> str:
    """Return the whole page."""
    reasons = "\n".join(f"- `{name}`: {reason}" for name, reason in EXCEPTIONS.items())
    return (
        f"{HEAD}\n## Exceptions\n\n{reasons}\n\n## Elementwise ops\n\n{table(CASES)}\n\n"
        f"## Losses and what they are made of\n\n{table(LOSSES)}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")
