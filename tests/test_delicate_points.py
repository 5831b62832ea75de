"""Derivatives at delicate points: right where they are defined, the convention at kinks, NaN where they are not."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from delicate_cases import Case, cases

import graphdiff as gd

pytestmark = [
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
]

Function = Callable[[Any], Any]
MODES = ("forward", "reverse", "elimination", "auto")
CENTRED = np.eye(3) - 1 / 3

SMOOTH: dict[str, tuple[Function, Any, Any]] = {
    "norm²": (lambda x: gd.norm(x) ** 2, np.zeros(2), 2 * np.eye(2)),
    "norm to the 2.0": (lambda x: gd.norm(x) ** 2.0, np.zeros(2), 2 * np.eye(2)),
    "exp(-norm²)": (lambda x: gd.exp(-(gd.norm(x) ** 2)), np.zeros(2), -2 * np.eye(2)),
    "norm² of rows": (lambda x: gd.sum(gd.norm(x[None], axis=1) ** 2), np.zeros(2), 2 * np.eye(2)),
    "Frobenius norm²": (lambda x: gd.norm(x[None], "fro") ** 2, np.zeros(3), 2 * np.eye(3)),
    "abs²": (lambda x: gd.sum(gd.abs(x) ** 2), np.zeros(2), 2 * np.eye(2)),
    "hypot²": (lambda x: gd.hypot(x[0], x[1]) ** 2, np.zeros(2), 2 * np.eye(2)),
    "std²": (lambda x: gd.std(x) ** 2, np.full(3, 0.1), CENTRED * 2 / 3),
    "std², corrected": (lambda x: gd.std(x, correction=1) ** 2, np.full(3, 0.1), CENTRED),
}
UNDEFINED: dict[str, tuple[Function, Any]] = {
    "norm": (gd.norm, np.zeros(2)),
    "norm of order 3": (lambda x: gd.norm(x, 3), np.zeros(2)),
    "norm of order 1.5": (lambda x: gd.norm(x, 1.5), np.zeros(2)),
    "norm of order ½": (lambda x: gd.norm(x, 0.5), np.zeros(2)),
    "hypot": (lambda x: gd.hypot(x[0], x[1]), np.zeros(2)),
    "atan2": (lambda x: gd.atan2(x[0], x[1]), np.zeros(2)),
    "std": (gd.std, np.full(3, 0.1)),
    "a multiple": (lambda x: 3 * gd.norm(x), np.zeros(2)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMOOTH)
def test_the_square_of_a_length_has_its_second_derivative_at_0(name: str, mode: str) -> None:
    function, x, expected = SMOOTH[name]
    for derive in (lambda f: f, gd.compile):
        np.testing.assert_allclose(derive(gd.hessian(function, mode=mode))(x).numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(derive(gd.jacobian(function, mode=mode))(x).numpy(), 0, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", UNDEFINED)
def test_a_length_has_slope_0_at_0_by_convention_and_no_second_derivative(name: str, mode: str) -> None:
    function, x = UNDEFINED[name]
    for derive in (lambda f: f, gd.compile):
        np.testing.assert_array_equal(derive(gd.jacobian(function, mode=mode))(x).numpy(), 0)
        assert np.isnan(derive(gd.hessian(function, mode=mode))(x).numpy()).all()


def test_newton_finds_the_bottom_of_a_squared_length() -> None:
    point = gd.critical_point(lambda x: gd.norm(x) ** 2 + gd.sum(x**2), np.zeros(2))
    assert "minimum" in str(point)


@pytest.mark.parametrize("point", [[0.1, 0.1, 0.1], [1e300, 1e300, 1e300], [-7e-5] * 3, [1 / 3] * 3])
def test_equal_values_have_no_spread_whatever_their_mean_is_rounded_to(point: list[float]) -> None:
    x = np.array(point)
    assert gd.std(x).item() == 0
    np.testing.assert_array_equal(gd.grad(gd.std)(x).numpy(), np.zeros(3))
    rows = np.array([point, [1.0, 2.0, 4.0]])
    slopes = gd.grad(lambda x: gd.sum(gd.std(x, axis=1)))(rows).numpy()
    np.testing.assert_array_equal(slopes[0], 0)
    np.testing.assert_allclose(slopes[1], (rows[1] - 7 / 3) / (3 * np.std(rows[1])), rtol=1e-14)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1e-300, 1e154, 1.0])
def test_the_spread_of_numbers_of_any_size(scale: float) -> None:
    x = np.array([1.0, 2.0]) * scale
    np.testing.assert_allclose(gd.std(x).item(), scale / 2, rtol=1e-15)
    np.testing.assert_allclose(gd.grad(gd.std)(x).numpy(), [-0.5, 0.5], rtol=1e-15)


@pytest.mark.parametrize("order", [3, 1.5, 2.5, 0.5, 4, -1])
def test_norms_of_any_order(order: float) -> None:
    x = np.array([[3.0, -4.0], [1e200, 2e200], [1e-200, -3e-200]])
    lengths = gd.norm(x, order, axis=1).numpy()
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(lengths[0], np.linalg.norm(x[0], order), rtol=1e-14)
    np.testing.assert_allclose(lengths[1], 1e200 * np.linalg.norm([1.0, 2.0], order), rtol=1e-14)
    slopes = gd.grad(lambda x: gd.sum(gd.norm(x, order, axis=1)))(x).numpy()
    np.testing.assert_allclose(slopes, np.sign(x) * (np.abs(x) / lengths[:, None]) ** (order - 1), rtol=1e-13)
    rows = np.array([[0.0, 0.0], [3.0, -4.0]])
    if order > 0:
        found = gd.grad(lambda x: gd.sum(gd.norm(x, order, axis=1)))(rows).numpy()
        np.testing.assert_allclose(found, [[0.0, 0.0], slopes[0]])


# NaN in, NaN out -------------------------------------------------------------------------------------------------

AT_NAN: dict[str, Function] = {
    "interp": lambda x: gd.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 4.0]),
    "maximum": lambda x: gd.maximum(x, 0.0),
    "minimum": lambda x: gd.minimum(1.0, x),
    "clip": lambda x: gd.clip(x, 0.0, 1.0),
    "hard_tanh": gd.hard_tanh,
    "leaky_relu": gd.leaky_relu,
    "elu": gd.elu,
    "abs": gd.abs,
    "max": lambda x: gd.max(x),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", AT_NAN)
def test_a_kink_has_no_side_at_nan(name: str, mode: str) -> None:
    slopes = gd.jacobian(lambda x: gd.sum(AT_NAN[name](x)), mode=mode)(np.array([np.nan, 0.5])).numpy()
    assert np.isnan(slopes[0])
    assert name == "max" or np.isfinite(slopes[1])


# No elements -----------------------------------------------------------------------------------------------------

EMPTY: dict[str, tuple[Function, tuple[int, ...], tuple[int, ...]]] = {
    "exp": (gd.exp, (0,), (0, 0)),
    "matrices": (lambda x: gd.sin(x) * 2, (0, 3), (0, 3, 0, 3)),
    "within": (lambda x: gd.exp(x[:0]), (2,), (0, 2)),
    "beside": (lambda x: gd.concatenate([x * x, gd.log(x[:0])]), (2,), (2, 2)),
    "sum of none": (lambda x: gd.sum(x * gd.ones((0, 2)), axis=0), (2,), (2, 2)),
    "product": (lambda x: gd.ones((3, 0)) @ x, (0,), (3, 0)),
    "softmax": (gd.softmax, (0, 3), (0, 3, 0, 3)),
    "chosen": (lambda x: gd.where(x > 0, gd.sqrt(x), 0.0) * x, (0,), (0, 0)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", EMPTY)
def test_derivatives_by_and_of_nothing_are_empty(name: str, mode: str) -> None:
    function, given, expected = EMPTY[name]
    for derive in (lambda f: f, gd.compile):
        assert derive(gd.jacobian(function, mode=mode))(np.ones(given)).shape == expected
        hessian = derive(gd.hessian(lambda x: gd.sum(function(x) ** 3), mode=mode))(np.ones(given))
        assert hessian.shape == given + given


# Every op, in every mode -------------------------------------------------------------------------------------------

CASES = list(cases())


def weighted(case: Case) -> Function:
    """Return a scalar function to which every element of the result contributes otherwise."""

    def scalar(x: Any) -> Any:
        result = case.function(x)
        return gd.sum(result * np.arange(1.0, 1 + result.size).reshape(result.shape))

    return scalar


def assert_alike(found: Any, expected: Any, label: str) -> None:
    """Compare what is finite, and where it is; ∞ in one mode may be NaN in another, which adds other terms."""
    one, other = np.asarray(found), np.asarray(expected)
    finite = np.isfinite(other)
    np.testing.assert_array_equal(np.isfinite(one), finite, err_msg=label)
    np.testing.assert_allclose(one[finite], other[finite], rtol=1e-9, atol=1e-12, err_msg=label)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_modes_agree_at_delicate_points(case: Case) -> None:
    x = case.point
    jacobian = gd.jacobian(case.function, mode="reverse")(x)
    hessian = gd.hessian(weighted(case), mode="reverse")(x)
    for mode in ("forward", "elimination", "auto"):
        assert_alike(gd.jacobian(case.function, mode=mode)(x), jacobian, f"first, {mode}")
        assert_alike(gd.hessian(weighted(case), mode=mode)(x), hessian, f"second, {mode}")
    gradient = gd.grad(weighted(case))
    assert_alike(gd.vmap(gradient)(np.stack([x, x]))[1], gradient(x), "batched")
    if np.isfinite(x).all():
        assert_alike(gd.compile(gd.jacobian(case.function))(x), jacobian, "first, compiled")
        assert_alike(gd.compile(gd.hessian(weighted(case)))(x), hessian, "second, compiled")


def test_the_page_of_delicate_points_is_up_to_date() -> None:
    docs = Path(__file__).parent.parent / "docs"
    page = runpy.run_path(str(docs / "make_delicate_points.py"))["page"]()
    expected = (docs / "delicate_points.md").read_text(encoding="utf-8")
    assert page == expected, "docs/delicate_points.md is not what is computed: run python docs/make_delicate_points.py"
