"""Ops at delicate points: zeros, bounds, infinities, NaN, ties, equal values."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import graphdiff as gd
from graphdiff.op import FUNCTIONS, OPS

INF, NAN = np.inf, np.nan
SINGLE = (0.0, -0.0, 1.0, -1.0, 0.5, INF, -INF, NAN)
PAIRS = (
    (0.0, 0.0),
    (0.0, 2.0),
    (0.0, -1.0),
    (1.0, 1.0),
    (-2.0, 2.0),
    (-2.0, 0.5),
    (INF, 1.0),
    (1.0, INF),
    (INF, INF),
    (NAN, 1.0),
)
VECTORS = ([0.0, 0.0], [1.0, 1.0, 2.0], [0.0, 2.0, 0.0], [2.0, 2.0], [INF, 1.0], [-INF, 1.0], [NAN, 1.0])


class Case(NamedTuple):
    """A function of one vector, and where it is looked at."""

    label: str
    function: Callable[[Any], Any]
    point: Any


REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": gd.sum,
    "mean": gd.mean,
    "prod": gd.prod,
    "cumprod": gd.cumprod,
    "max": gd.max,
    "min": gd.min,
    "sort": gd.sort,
    "median": gd.median,
    "topk": lambda x: gd.topk(x, 1)[0],
    "std": gd.std,
    "var": gd.var,
    "logsumexp": gd.logsumexp,
    "softmax": gd.softmax,
    "log_softmax": gd.log_softmax,
    "norm": gd.norm,
    "norm of order 1": lambda x: gd.norm(x, 1),
    "norm of order 3": lambda x: gd.norm(x, 3),
    "norm of order 1.5": lambda x: gd.norm(x, 1.5),
    "norm of order inf": lambda x: gd.norm(x, INF),
    "norm squared": lambda x: gd.norm(x) ** 2,
    "interp": lambda x: gd.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0]),
    "clip": lambda x: gd.clip(x, 0.0, 1.0),
    "where": lambda x: gd.where(x > 0, gd.sqrt(x), 0.0),
    "sqrt of relu": lambda x: gd.sqrt(gd.relu(x)),
    "relu of log": lambda x: gd.relu(gd.log(x)),
    "huber": lambda x: gd.nn.huber(x, 0.0 * x),
    "hinge": lambda x: gd.nn.hinge(x, np.where(np.arange(x.size) % 2, 1, -1)),
}


def cases() -> Iterator[Case]:
    """Yield every op with a derivative at every point that may be delicate for it."""
    for op in OPS.values():
        if op.kind != "elementwise" or op.name.endswith("_example") or not any(op.partials):  # type: ignore[attr-defined]
            continue
        function, count = FUNCTIONS[op.name], len(op.partials)  # type: ignore[attr-defined]
        if count == 1:
            yield from (Case(f"{op.name} at {x}", lambda v, f=function: f(v), np.array([x, 0.5])) for x in SINGLE)
        elif count == 2:
            for pair in PAIRS:
                yield Case(f"{op.name} at {pair}", lambda v, f=function: f(v[0], v[1]), np.array(pair))
    for name, function in REDUCTIONS.items():
        yield from (Case(f"{name} at {vector}", function, np.array(vector)) for vector in VECTORS)
