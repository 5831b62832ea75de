"""Ranks: which of equal elements a derivative goes to, NaN and infinities, plans, and what running sums cost."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

TIES: list[tuple[Callable[[Any], Any], list[float], list[float]]] = [
    (gd.sort, [2.0, 1.0, 2.0], [1.0, 0.0, 2.0]),
    (gd.median, [2.0, 2.0, 1.0], [1.0, 0.0, 0.0]),
    (gd.median, [3.0, 3.0, 3.0, 3.0], [0.0, 0.5, 0.5, 0.0]),
    (lambda x: gd.quantile(x, 0.25), [5.0, 1.0, 3.0], [0.0, 0.5, 0.5]),
    (lambda x: gd.topk(x, 2)[0], [1.0, 4.0, 4.0, 4.0], [0.0, 0.0, 1.0, 0.0]),
]


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize(("function", "point", "expected"), TIES)
def test_equal_elements_in_their_order(
    function: Callable[[Any], Any], point: list[float], expected: list[float], mode: str
) -> None:
    """The weights 0, 1, … of the results tell which element each comes from."""

    def weighted(x: Any) -> Any:
        out = function(x)
        return gd.sum(out * np.arange(out.size).reshape(out.shape)) if out.ndim else out

    np.testing.assert_array_equal(gd.jacobian(weighted, mode=mode)(np.array(point)).numpy(), expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("values", [[1.0, np.nan, 2.0], [np.inf, 1.0, np.inf], [-np.inf, -np.inf, 0.0], [np.inf] * 3])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_quantiles_of_what_is_not_finite(values: list[float], fraction: float) -> None:
    expected = sorted(values)[int(2 * fraction)] if not np.isnan(values).any() else np.nan
    np.testing.assert_array_equal(gd.quantile(np.array(values), fraction).numpy(), expected)
    if fraction == 0.5:
        np.testing.assert_array_equal(gd.median(np.array(values)).numpy(), expected)


def test_nan_is_greater_than_all() -> None:
    values, places = gd.topk(np.array([1.0, np.nan, np.inf]), 2)
    np.testing.assert_array_equal(values.numpy(), [np.nan, np.inf])
    assert places.tolist() == [1, 2]


def test_ranks_in_plans() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    for function in (gd.median, lambda x: gd.quantile(x, 0.3, axis=0), lambda x: gd.topk(x, 2, axis=0)[0]):
        gradient = gd.grad(lambda x, f=function: gd.sum(f(x) ** 2))
        np.testing.assert_array_equal(gd.compile(gradient)(x).numpy(), gradient(x).numpy())


def test_running_sums_are_additions() -> None:
    x = np.ones((4, 5))
    assert gd.cost(lambda x: gd.cumsum(x, 0), x).additions == 15
    assert gd.cost(lambda x: gd.cumsum(x, 1), x).additions == 16
    assert gd.cost(gd.cumsum, x).additions == 19
    assert gd.cost(gd.cumsum, np.ones((0, 3))).additions == 0
