"""Write docs/delicate_points.md: derivatives at kinks, poles, ties and equal values, made by running them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import graphdiff as gd

PAGE = Path(__file__).parent / "delicate_points.md"

HEAD = """# Delicate points

Derivatives where functions have kinks, poles, ties or equal values. Every entry is what graphdiff computes: this page
is written by `python docs/make_delicate_points.py`, which runs each row in forward and in reverse mode, eagerly and
compiled, and says where they differ. The rule:

- where a derivative is defined, it is right;
- at a kink, it is the documented convention, PyTorch's wherever PyTorch has one;
- where it is undefined or not known, it is NaN, or infinite where a slope grows without bound.

What is not chosen contributes exactly zero, whatever its derivative: by `where`, `relu`, `maximum`, `minimum`, `clip`,
`max`, `min`, `sort` or an index, of what is computed below them and above. A number that happens to be zero is another
matter: 0 · ∞ is NaN. In reverse mode and in a compiled function arguments count as finite: an infinite one may make NaN
of a zero that is exact in forward mode. Of equal eigenvalues a compiled function cannot know.

At kinks between smooth pieces the convention is one piece, or their mean, with its derivatives of every order. The zero
of a length is no such kink: its slope is 0 by convention, and its second derivative is NaN. The square of a length,
written `norm(x)**2`, has all of them. Outside their domain functions are NaN, and so is what follows; a formula for the
slope alone may give a number there, as 1/x does of the logarithm of a negative one.
"""

Row = tuple[str, Callable[[Any], Any], Any, str]
INF, NAN = np.inf, np.nan
KINK, DEFINED, UNDEFINED, UNBOUNDED = "convention", "defined", "undefined", "unbounded"

SYMMETRIC = np.array([[2.0, 6.0], [6.0, 10.0]])

TABLES: dict[str, list[Row]] = {
    "Roots, powers, logarithms": [
        ("sqrt(x)", gd.sqrt, 0.0, UNBOUNDED),
        ("cbrt(x)", gd.cbrt, 0.0, UNBOUNDED),
        ("x**0", lambda x: x**0, 0.0, DEFINED),
        ("x**0.0", lambda x: x**0.0, 0.0, DEFINED),
        ("x**1", lambda x: x**1, 0.0, DEFINED),
        ("x**2", lambda x: x**2, 0.0, DEFINED),
        ("x**3", lambda x: x**3, 0.0, DEFINED),
        ("x**1.5", lambda x: x**1.5, 0.0, "second unbounded"),
        ("x**0.5", lambda x: x**0.5, 0.0, UNBOUNDED),
        ("x**-1", lambda x: x**-1.0, 0.0, UNDEFINED),
        ("0**x", lambda x: 0.0**x, 2.0, DEFINED),
        ("0**x", lambda x: 0.0**x, 0.0, KINK),
        ("x[0]**x[1]", lambda x: x[0] ** x[1], [-2.0, 2.0], "undefined by the exponent"),
        ("log(x)", gd.log, 0.0, UNBOUNDED),
        ("log1p(x)", gd.log1p, -1.0, UNBOUNDED),
        ("x * log(x)", lambda x: x * gd.log(x), 0.0, UNDEFINED),
        ("where(x > 0, x*log(x), 0)", lambda x: gd.where(x > 0, x * gd.log(x), 0.0), 0.0, "not chosen"),
        ("1/x", lambda x: 1 / x, 0.0, UNDEFINED),
        ("sin(x)/x", lambda x: gd.sin(x) / x, 0.0, UNDEFINED),
        ("asin(x)", gd.asin, 1.0, UNBOUNDED),
        ("acos(x)", gd.acos, -1.0, UNBOUNDED),
        ("acosh(x)", gd.acosh, 1.0, UNBOUNDED),
        ("atanh(x)", gd.atanh, 1.0, UNBOUNDED),
    ],
    "Kinks": [
        ("abs(x)", gd.abs, 0.0, KINK),
        ("abs(x)**2", lambda x: gd.abs(x) ** 2, 0.0, DEFINED),
        ("cos(abs(x))", lambda x: gd.cos(gd.abs(x)), 0.0, "second by convention"),
        ("relu(x)**2", lambda x: gd.relu(x) ** 2, 0.0, "second by convention"),
        ("sign(x)", gd.sign, 0.0, KINK),
        ("relu(x)", gd.relu, 0.0, KINK),
        ("leaky_relu(x)", gd.leaky_relu, 0.0, KINK),
        ("elu(x)", gd.elu, 0.0, DEFINED),
        ("softplus(x)", gd.softplus, 0.0, DEFINED),
        ("gelu(x)", gd.gelu, 0.0, DEFINED),
        ("hard_tanh(x)", gd.hard_tanh, 1.0, KINK),
        ("maximum(x[0], x[1])", lambda x: gd.maximum(x[0], x[1]), [1.0, 1.0], KINK),
        ("minimum(x[0], x[1])", lambda x: gd.minimum(x[0], x[1]), [1.0, 1.0], KINK),
        ("clip(x, 0, 1)", lambda x: gd.clip(x, 0.0, 1.0), 0.0, KINK),
        ("clip(x, 0, 1)", lambda x: gd.clip(x, 0.0, 1.0), 1.0, KINK),
        ("floor(x)", gd.floor, 1.0, KINK),
        ("round(x)", gd.round, 0.5, KINK),
        ("x % 1", lambda x: x % 1.0, 2.0, KINK),
        ("x[0] % x[1]", lambda x: x[0] % x[1], [2.0, 1.0], KINK),
        ("interp(x, [0, 1, 2], [0, 1, 4])", lambda x: gd.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0]), 1.0, KINK),
        ("interp(x, [0, 1, 2], [0, 1, 4])", lambda x: gd.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0]), 2.0, KINK),
        ("nn.huber(x, 0)", lambda x: gd.nn.huber(x, 0.0 * x), 1.0, "second by convention"),
        ("nn.hinge(x, 1)", lambda x: gd.nn.hinge(x, np.ones(1)), [1.0], KINK),
    ],
    "What is not chosen": [
        ("where(x > 0, sqrt(x), 0)", lambda x: gd.where(x > 0, gd.sqrt(x), 0.0), 0.0, "not chosen"),
        ("sum(sqrt(relu(x)))", lambda x: gd.sum(gd.sqrt(gd.relu(x))), [-1.0, 4.0], "not chosen"),
        ("sum(log(maximum(x, 0)))", lambda x: gd.sum(gd.log(gd.maximum(x, 0.0))), [-1.0, 4.0], "not chosen"),
        ("sum(sqrt(clip(x, 0, 9)))", lambda x: gd.sum(gd.sqrt(gd.clip(x, 0.0, 9.0))), [-1.0, 4.0], "not chosen"),
        ("sum(relu(log(x)))", lambda x: gd.sum(gd.relu(gd.log(x))), [0.0, 2.0], "not chosen"),
        ("max(sqrt(x))", lambda x: gd.max(gd.sqrt(x)), [0.0, 4.0], "not chosen"),
        ("sqrt(x)[1]", lambda x: gd.sqrt(x)[1], [0.0, 4.0], "not chosen"),
        ("sort(sqrt(x))[1]", lambda x: gd.sort(gd.sqrt(x))[1], [0.0, 4.0], "not chosen"),
        ("sqrt(relu(x))", lambda x: gd.sqrt(gd.relu(x)), 0.0, KINK),
        ("sqrt(x)**2", lambda x: gd.sqrt(x) ** 2, 0.0, "0 · ∞ of numbers"),
    ],
    "Ties": [
        ("max(x)", gd.max, [2.0, 2.0, 1.0], KINK),
        ("min(x)", gd.min, [2.0, 2.0, 3.0], KINK),
        ("sort(x)[0]", lambda x: gd.sort(x)[0], [2.0, 2.0], KINK),
        ("topk(x, 1)", lambda x: gd.topk(x, 1)[0][0], [2.0, 2.0], KINK),
        ("median(x)", gd.median, [1.0, 2.0, 2.0], KINK),
        ("median(x)", gd.median, [1.0, 2.0, 2.0, 3.0], KINK),
        ("prod(x)", gd.prod, [0.0, 2.0, 3.0], DEFINED),
        ("prod(x)", gd.prod, [0.0, 0.0, 3.0], DEFINED),
    ],
    "Lengths and spreads at 0": [
        ("norm(x)", gd.norm, [0.0, 0.0], KINK),
        ("norm(x, 1)", lambda x: gd.norm(x, 1), [0.0, 2.0], KINK),
        ("norm(x, inf)", lambda x: gd.norm(x, INF), [0.0, 0.0], KINK),
        ("norm(x, 3)", lambda x: gd.norm(x, 3), [0.0, 0.0], KINK),
        ("norm(x, 1.5)", lambda x: gd.norm(x, 1.5), [0.0, 0.0], KINK),
        ("norm(x)**2", lambda x: gd.norm(x) ** 2, [0.0, 0.0], DEFINED),
        ("exp(-norm(x)**2)", lambda x: gd.exp(-(gd.norm(x) ** 2)), [0.0, 0.0], DEFINED),
        ("cos(norm(x))", lambda x: gd.cos(gd.norm(x)), [0.0, 0.0], "second not known"),
        ("hypot(x[0], x[1])", lambda x: gd.hypot(x[0], x[1]), [0.0, 0.0], KINK),
        ("hypot(x[0], x[1])**2", lambda x: gd.hypot(x[0], x[1]) ** 2, [0.0, 0.0], DEFINED),
        ("atan2(x[0], x[1])", lambda x: gd.atan2(x[0], x[1]), [0.0, 0.0], KINK),
        ("std(x)", gd.std, [0.1, 0.1], KINK),
        ("std(x)**2", lambda x: gd.std(x) ** 2, [0.1, 0.1], DEFINED),
        ("std(x)", gd.std, [1e200, 2e200], DEFINED),
        ("cosine of x and (1, 0)", lambda x: x[0] / gd.norm(x), [0.0, 0.0], UNDEFINED),
    ],
    "Infinities and NaN": [
        ("logsumexp(x)", gd.logsumexp, [-INF, 0.0], DEFINED),
        ("logsumexp(x)", gd.logsumexp, [-INF, -INF], UNDEFINED),
        ("logaddexp(x[0], x[1])", lambda x: gd.logaddexp(x[0], x[1]), [-INF, 0.0], DEFINED),
        ("softmax(x)[0]", lambda x: gd.softmax(x)[0], [-INF, 0.0], DEFINED),
        ("sigmoid(x)", gd.sigmoid, -INF, DEFINED),
        ("tanh(x)", gd.tanh, INF, DEFINED),
        ("relu(x)", gd.relu, NAN, "passes the adjoint, as PyTorch's"),
        ("maximum(x, 0)", lambda x: gd.maximum(x, 0.0), NAN, UNDEFINED),
        ("clip(x, 0, 1)", lambda x: gd.clip(x, 0.0, 1.0), NAN, UNDEFINED),
        ("interp(x, [0, 1], [0, 1])", lambda x: gd.interp(x, [0.0, 1.0], [0.0, 1.0]), NAN, UNDEFINED),
    ],
    "Matrices": [
        ("det(x)", gd.linalg.det, [[1.0, 0.0], [0.0, 0.0]], DEFINED),
        ("sum of eigvalsh(x)²", lambda x: gd.sum(gd.linalg.eigvalsh(x) ** 2), [[1.0, 0.0], [0.0, 1.0]], DEFINED),
        (
            "sum(W · x²) by eigh",
            lambda x: (lambda w, v: gd.sum(((v * w**2) @ v.T) * SYMMETRIC))(*gd.linalg.eigh(x)),
            [[1.0, 0.0], [0.0, 1.0]],
            DEFINED,
        ),
        ("sum of svdvals(x)²", lambda x: gd.sum(gd.linalg.svdvals(x) ** 2), [[1.0, 0.0], [0.0, 1.0]], DEFINED),
        ("norm(x, 'nuc')", lambda x: gd.norm(x, "nuc"), [[1.0, 0.0], [0.0, 0.0]], UNDEFINED),
    ],
}


def written(array: Any) -> str:
    """Return an array of few elements as text."""
    rounded = np.asarray(np.where(np.abs(array) < 1e-9, 0.0, array) + 0.0)
    if rounded.ndim > 2:
        rounded = rounded.reshape(rounded.shape[0] * rounded.shape[1], -1)
    text = np.array2string(rounded, separator=", ", formatter={"float_kind": _number}, max_line_width=10**6)
    return re.sub(r"\s+", " ", text).replace("nan", "NaN").replace("inf", "∞").replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.4g}"


def computed(function: Callable[[Any], Any], point: Any, derive: Callable[..., Any]) -> str:
    """Return a derivative in both modes, eager and compiled: once if they are alike."""
    found: dict[str, list[str]] = {}
    for mode in ("reverse", "forward"):
        derivative = derive(function, mode=mode)
        for way, run in ((mode, derivative), (f"compiled {mode}", gd.compile(derivative))):
            found.setdefault(written(run(np.asarray(point)).numpy()), []).append(way)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{text} ({', '.join(ways)})" for text, ways in found.items())


def row(written_function: str, function: Callable[[Any], Any], point: Any, status: str) -> str:
    """Return a line of a table."""
    first = computed(function, point, gd.jacobian)
    second = computed(function, point, gd.hessian)
    cells = [f"`{written_function}`", written(np.asarray(point)), first, second, status]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for title, rows in TABLES.items():
            lines = "\n".join(row(*each) for each in rows)
            parts.append(
                f"\n## {title}\n\n| function | at | first | second | which is |\n|---|---|---|---|---|\n{lines}\n"
            )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.name}: {sum(map(len, TABLES.values()))} rows")
