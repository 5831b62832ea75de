"""What an array library refuses within a plan is told as in eager mode: op, operands, and the user's line."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_toy_backend import STRICT

import graphdiff as gd
from graphdiff.errors import IndexOutsideError, MatrixError

SINGULAR = np.zeros((3, 3))


def line_of(function: Callable[..., Any], text: str) -> int:
    """Return the number of the line of a function's source that has a text in it."""
    lines, first = inspect.getsourcelines(function)
    return first + next(place for place, line in enumerate(lines) if text in line)


def inverted(m: Any) -> Any:
    doubled = (m + m).named("doubled")
    inverse = gd.linalg.inv(doubled)
    return gd.sum(inverse * 3.0)


def with_numbers(m: Any, n: Any) -> Any:
    """Return what a plan computes with Python's own numbers, which is run twice where those raise."""
    return inverted(m) / n + (n + 1.0) / n


@pytest.mark.parametrize("backend", ["numpy", STRICT], ids=["planned", "generic"])
def test_a_singular_matrix_is_told_by_op_operand_and_line(backend: Any) -> None:
    with gd.use_backend(backend):
        compiled = gd.compile(inverted)
        compiled(gd.constant(np.eye(3)))
        with pytest.raises(MatrixError) as raised:
            compiled(gd.constant(SINGULAR))
    text = str(raised.value)
    assert text.startswith("inv('doubled' float64[3, 3]), made at ")
    assert f"test_plan_failures.py:{line_of(inverted, 'linalg.inv')}: Singular matrix; add a multiple" in text
    assert f"doubled was made at {__file__}:{line_of(inverted, 'm + m')}" in text
    assert isinstance(raised.value.__cause__, np.linalg.LinAlgError)


def test_the_quick_way_and_named_arguments_tell_the_same() -> None:
    compiled = gd.compile(inverted)
    compiled(np.eye(3))
    told = set()
    for call in (lambda: compiled(SINGULAR), lambda: compiled(m=SINGULAR), lambda: compiled.many(2, SINGULAR)):
        with pytest.raises(MatrixError) as raised:
            call()
        told.add(str(raised.value))
    assert len(told) == 1
    assert compiled(np.eye(3)).item() == 4.5


@pytest.mark.parametrize("n", [2.0, 0.0])
def test_a_plan_with_numbers_names_the_op_too(n: float) -> None:
    compiled = gd.compile(with_numbers)
    compiled(np.eye(3), 1.0)
    for _ in range(2):
        with pytest.raises(MatrixError, match=r"inv\('doubled' float64\[3, 3\]\), made at .*: Singular matrix"):
            compiled(SINGULAR, n)


def test_a_backward_op_is_told_by_the_line_that_differentiates() -> None:
    def step(m: Any) -> Any:
        with np.errstate(all="ignore"):
            return gd.grad(lambda m: gd.linalg.slogdet(m)[1])(m)

    compiled = gd.compile(step)
    np.testing.assert_allclose(compiled(np.eye(3) * 2), np.eye(3) / 2)
    with pytest.raises(MatrixError, match=rf"made at .*test_plan_failures.py:{line_of(step, 'gd.grad')}"):
        compiled(SINGULAR)


def test_an_index_outside_is_told() -> None:
    pick = gd.compile(lambda i, x: x[i])
    assert pick(np.array([2, 0]), np.arange(3.0)).tolist() == [2.0, 0.0]
    with pytest.raises(IndexOutsideError, match=r"getitem\('x' float64\[3\], 'i' int64\[2\]\), made at .*index 7"):
        pick(np.array([0, 7]), np.arange(3.0))


def test_a_failing_step_changes_nothing() -> None:
    w, m = gd.variable(np.ones(4), name="w"), gd.variable(np.eye(3), name="m")

    @gd.compile
    def step() -> Any:
        w.assign(w * 2)
        return gd.sum(gd.linalg.inv(m))

    step()
    m.assign(SINGULAR)
    with pytest.raises(MatrixError, match="'m' float64"):
        step()
    np.testing.assert_array_equal(w.numpy(), np.full(4, 2.0))
    m.assign(np.eye(3))
    assert step().item() == 3.0
    np.testing.assert_array_equal(w.numpy(), np.full(4, 4.0))
