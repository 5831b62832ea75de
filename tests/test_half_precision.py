"""Half precision: what sums within has room above 65,504, and ranks are counted in wider numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

COUNT = 70_000
stream = np.random.default_rng(4)
POINTS = {
    "many": np.full(COUNT, 0.1, "float16"),
    "many and apart": stream.normal(size=COUNT).astype("float16"),
    "large": np.array([6e4, -6e4, 5e4, 100.0], "float16"),
    "rows": np.full((2, COUNT), 0.01, "float16"),
}


def exponentials(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "norm": (gd.norm, np.linalg.norm),
    "norm of order 3": (lambda x: gd.norm(x, 3, axis=-1), lambda x: (np.abs(x) ** 3).sum(-1) ** (1 / 3)),
    "logsumexp": (lambda x: gd.logsumexp(x, axis=-1), lambda x: np.log(np.exp(x - x.max()).sum(-1)) + x.max()),
    "softmax": (gd.softmax, exponentials),
    "log_softmax": (gd.log_softmax, lambda x: x - x.max() - np.log(np.exp(x - x.max()).sum(-1, keepdims=True))),
    "std": (gd.std, np.std),
    "var": (lambda x: gd.var(x / 500), lambda x: np.var((x / 500).astype("float16").astype("float64"))),
    "median": (gd.median, np.median),
    "quantile": (lambda x: gd.quantile(x, [0.1, 0.7]), lambda x: np.quantile(x, [0.1, 0.7])),
    "cross-entropy": (
        lambda x: gd.nn.softmax_cross_entropy(gd.reshape(x, (-1, 2)), np.zeros(x.size // 2, int)),
        lambda x: np.mean(np.logaddexp(0, x.reshape(-1, 2) @ [-1.0, 1.0])),
    ),
}
LARGEST = 65504


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_those_of_double_precision_rounded(name: str, point: str) -> None:
    function, reference = FUNCTIONS[name]
    x = POINTS[point]
    expected = reference(x.astype("float64"))
    expected = np.where(np.abs(expected) > LARGEST, np.copysign(np.inf, expected), expected)
    for run in (lambda f: f, gd.compile):
        found = run(function)(gd.constant(x))
        assert found.dtype == "float16"
        np.testing.assert_allclose(found.numpy().astype("float64"), expected, rtol=2e-3, atol=1e-7)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", ["norm", "norm of order 3", "logsumexp", "log_softmax", "std", "cross-entropy"])
def test_slopes_are_those_of_double_precision_rounded(name: str, point: str) -> None:
    function, x = FUNCTIONS[name][0], POINTS[point]
    if point == "large" and name.startswith("norm"):
        x = x / 4
    expected = gd.grad(lambda x: gd.sum(function(x)))(x.astype("float64")).numpy()
    for run in (lambda f: f, gd.compile):
        found = run(gd.grad(lambda x: gd.sum(function(x))))(x).numpy()
        assert found.dtype == "float16"
        # The logarithm's own rounding, of 0.004 at 11, is one of its exponential.
        rounding = 8e-3 if name == "log_softmax" else 4e-3
        largest = max(np.abs(expected).max(), float(name == "log_softmax"))
        np.testing.assert_allclose(found.astype("float64"), expected, rtol=rounding, atol=rounding * largest)
