"""Identities of planning: fewer ops, the same numbers, where factors are large or small too."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.plan.passes import attribute_key

TIMES: dict[str, tuple[Callable[[Any], Any], int]] = {
    "x · a · b": (lambda x: x * 3.0 * 0.5, 1),
    "a · (b · x)": (lambda x: 3.0 * (0.5 * x), 1),
    "a · (b / x)": (lambda x: 3.0 * (0.5 / x), 1),
    "a · -x": (lambda x: 3.0 * -x, 1),
    "x · 0 · a": (lambda x: x * 0.0 * 3.0, 1),
    "a·b vanishes": (lambda x: x * 1e-200 * 1e-200, 2),
    "a·b is subnormal": (lambda x: x * 1e-200 * 1e-110, 2),
    "a·b overflows": (lambda x: x * 1e-9 * 1e200 * 1e200, 2),
    "a·b overflows above x": (lambda x: 1e200 * (1e200 / x), 2),
    "x · (1 / y)": (lambda x: x * (1.0 / (x + 1.0)), 2),
    "x · inf · 0": (lambda x: x * np.inf * 0.0, 2),
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-300])
def test_products_of_known_factors_give_what_the_eager_ops_give(name: str, scale: float) -> None:
    function, calls = TIMES[name]
    x = np.array([0.7, -1.3, 2.0]) * scale
    step = gd.compile(function)
    with np.errstate(all="ignore"):
        expected = function(x)
    np.testing.assert_allclose(step(x).numpy(), expected, rtol=1e-14)
    assert len(step.plan(x).instructions) == calls


def test_factors_are_joined_within_the_range_of_their_dtype() -> None:
    x = np.array([1e35], np.float32)
    np.testing.assert_allclose(gd.compile(lambda x: x * 1e-30 * 1e-30)(x).numpy(), [1e-25], rtol=1e-6)


def test_attributes_that_are_equal_but_not_the_same_are_told_apart() -> None:
    assert attribute_key({"value": 0.0}) != attribute_key({"value": -0.0})
    assert attribute_key({"value": float("nan")}) == attribute_key({"value": float("nan")})
    assert attribute_key({"axis": 1}) != attribute_key({"axis": True})


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1.0 - (-x),
        lambda x: 1.0 + (-x),
        lambda x: (-x) + 1.5,
        lambda x: (-x) * 2.5,
        lambda x: 2.0 * (-x),
        lambda x: (x * 100) * 0.5,
        lambda x: gd.astype(x, "float32") * 1e30 * 1e30 * np.ones(3),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16"])
def test_what_wraps_around_in_a_narrow_dtype_is_not_seen_through(function: Any, dtype: str) -> None:
    x = np.array([2, np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(gd.compile(function)(x).numpy(), np.asarray(function(gd.constant(x))))
        np.testing.assert_array_equal(gd.compile(function)(x).numpy(), np.asarray(function(x)))
