"""Conventions at kinks, and the exact zero of the branch that `where` did not take."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphdiff as gd

KINKS: list[tuple[str, Callable[..., Any], list[Any], list[Any]]] = [
    ("relu", gd.relu, [0.0], [0.0]),
    ("abs", gd.abs, [0.0], [0.0]),
    ("maximum", gd.maximum, [1.0, 1.0], [0.5, 0.5]),
    ("minimum", gd.minimum, [1.0, 1.0], [0.5, 0.5]),
    ("max", gd.max, [np.array([2.0, 2.0, 1.0])], [[0.5, 0.5, 0.0]]),
    ("clip", lambda x: gd.clip(x, 0.0, 1.0), [1.0], [1.0]),
    ("norm", gd.linalg.norm, [np.zeros(2)], [[0.0, 0.0]]),
    ("hypot", gd.hypot, [0.0, 0.0], [0.0, 0.0]),
    ("std", gd.std, [np.ones(3)], [[0.0, 0.0, 0.0]]),
    ("power", lambda x: x**0.0, [0.0], [0.0]),
    ("power of an array", gd.power, [0.0, 2.0], [0.0, 0.0]),
    ("prod", gd.prod, [np.array([0.0, 2.0, 3.0])], [[6.0, 0.0, 0.0]]),
    ("where", lambda x: gd.where(x > 0, gd.sqrt(x), 0.0), [0.0], [0.0]),
    ("stop_gradient", gd.stop_gradient, [2.0], [0.0]),
]


@pytest.mark.parametrize(("name", "function", "point", "expected"), KINKS, ids=[kink[0] for kink in KINKS])
def test_convention(name: str, function: Callable[..., Any], point: list[Any], expected: list[Any]) -> None:
    every = tuple(range(len(point)))
    for mode in ("forward", "reverse"):
        for computed, value in zip(gd.jacobian(function, every, mode=mode)(*point), expected):
            np.testing.assert_array_equal(computed.numpy(), value)


GUARDED: dict[str, Callable[[Any], Any]] = {
    "sqrt": lambda x: gd.where(x > 0, gd.sqrt(x), 0.0),
    "log": lambda x: gd.where(x > 0, gd.log(x), x),
    "reciprocal": lambda x: gd.where(x == 0, 1.0, 1 / x),
    "power": lambda x: gd.where(x > 0, x**0.5, 0.0),
    "asin": lambda x: gd.where(x > 0, gd.asin(x + 1), 0.0 * x),
    "below a product": lambda x: gd.where(x > 0, gd.sqrt(x * 3.0) * gd.exp(x), 0.0),
    "below a sum": lambda x: gd.where(gd.sum(x) > 0, gd.sqrt(gd.sum(x)), 0.0),
    "below an index": lambda x: gd.where(x > 0, gd.sqrt(x)[::-1][::-1], 0.0),
    "nested": lambda x: gd.where(x >= 0, gd.where(x > 0, gd.log(x), 0.0), 0.0),
    "below a matrix product": lambda x: gd.where(x > 0, gd.sqrt(x @ np.eye(2)), 0.0),
    "infinite factor": lambda x: gd.where(x > 0, np.array([[np.inf, 0.0], [0.0, np.inf]]) @ x, 0.0),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", GUARDED)
def test_branch_not_taken_contributes_exactly_zero(name: str) -> None:
    function = GUARDED[name]
    x = np.zeros(2)

    def scalar(x: Any) -> Any:
        return gd.sum(function(x))

    for derivative in (
        gd.grad(scalar)(x),
        gd.jacobian(scalar, mode="forward")(x),
        gd.hessian(scalar)(x),
        gd.jacobian(gd.grad(scalar), mode="reverse")(x),
    ):
        assert np.isfinite(derivative.numpy()).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_sqrt_guard_is_zero_at_every_order() -> None:
    def f(x: Any) -> Any:
        return gd.where(x > 0, gd.sqrt(x), 0.0)

    derivative = f
    for _ in range(3):
        derivative = gd.grad(derivative)
        assert derivative(0.0).item() == 0.0
        assert np.isfinite(derivative(4.0).item())
    assert gd.grad(gd.grad(f))(4.0).item() == pytest.approx(-0.25 * 4.0**-1.5)


def test_a_cotangent_that_happens_to_be_zero_is_not_a_dead_branch() -> None:
    # d/dx (sin x)² has cotangent 2 sin x = 0 at 0, but the second derivative there is 2.
    assert gd.grad(gd.grad(lambda x: gd.where(x > -1, gd.sin(x) ** 2, 0.0)))(0.0).item() == pytest.approx(2.0)


def test_the_derivative_of_a_power_of_a_number_is_what_a_lecture_writes() -> None:
    x = gd.variable(3.0, name="x")
    slope = gd.adjoints(x**3)[x]
    assert [node.op.name for node in gd.Graph(slope) if node.op] == ["square", "multiply", "multiply"]
    assert [gd.grad(lambda x, n=n: x**n)(0.0).item() for n in (0, 1, 2, 3)] == [0, 1, 0, 0]
    assert [gd.grad(gd.grad(lambda x, n=n: x**n))(0.0).item() for n in (0.0, 1.0, 2.0, 3.0)] == [0, 0, 2, 0]
    assert gd.grad(lambda x: x**2.5)(4.0).item() == 20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 8, 17, 64])
def test_a_planned_relu_hides_no_nan(dtype: str, columns: int) -> None:
    """Where relu is NaN, of either sign, the adjoint passes; it is neither dropped nor garbled."""
    entries = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, np.copysign(np.nan, -1)], dtype)
    passes = np.array([0, 0, 1, 0, 1, 0, 1, 1], bool)
    x = np.repeat(entries[:, None], columns, axis=1)
    scale = gd.variable(np.ones(columns, dtype))

    @gd.compile
    def adjoint(x: Any, cotangent: Any) -> Any:
        return gd.vjp(gd.relu, gd.positive(x) * scale)[1](cotangent * scale)[0]

    for cotangent in (0.1, -0.3, np.nan, np.copysign(np.nan, -1)):
        found = np.asarray(adjoint(x, np.full(x.shape, cotangent, dtype)))
        expected = np.where(passes[:, None], np.full(x.shape, cotangent, dtype), 0)
        np.testing.assert_array_equal(found, expected)
    assert "fmin" in adjoint.plans[0].source  # the quick way, which is what this is about
