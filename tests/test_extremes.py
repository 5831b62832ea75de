"""Derivatives at extreme arguments, where a careless rule overflows or cancels; empty arrays; one variable twice."""

from collections.abc import Callable
from math import cos, e, exp, inf, log, pi, sqrt
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.op import FUNCTIONS, OPS

# name, arguments, exact derivatives. They hold to 1e-14 of their own size, or to the last bit of 1 where that is more.
POINTS: list[tuple[str, list[Any], list[Any]]] = [
    ("negative", [1e300], [-1.0]),
    ("positive", [-1e300], [1.0]),
    ("abs", [-1e300], [-1.0]),
    ("abs", [1e-300], [1.0]),
    ("square", [1e200], [2e200]),
    ("square", [1e-200], [2e-200]),
    ("sqrt", [1e-300], [5e149]),
    ("sqrt", [1e300], [5e-151]),
    ("cbrt", [1e-300], [1e200 / 3]),
    ("cbrt", [-1e300], [1e-200 / 3]),
    ("reciprocal", [1e-100], [-1e200]),
    ("reciprocal", [1e300], [0.0]),
    ("exp", [-1000.0], [0.0]),
    ("exp", [700.0], [1.0142320547350045e304]),
    ("expm1", [1e-20], [1.0]),
    ("expm1", [-1000.0], [0.0]),
    ("log", [1e-300], [1e300]),
    ("log", [1e300], [1e-300]),
    ("log1p", [1e-20], [1.0]),
    ("log1p", [1e300], [1e-300]),
    ("log2", [1e-300], [1e300 / log(2)]),
    ("log10", [1e-300], [1e300 / log(10)]),
    ("sin", [1e-300], [1.0]),
    ("sin", [1e6], [cos(1e6)]),
    ("cos", [1e-300], [-1e-300]),
    ("tan", [1e-300], [1.0]),
    ("asin", [1e-300], [1.0]),
    ("asin", [1 - 2.0**-52], [2.0**26 / sqrt(2 - 2.0**-52)]),
    ("acos", [1e-300], [-1.0]),
    ("acos", [-1 + 2.0**-52], [-(2.0**26) / sqrt(2 - 2.0**-52)]),
    ("atan", [1e200], [0.0]),
    ("atan", [1e-200], [1.0]),
    ("sinh", [700.0], [1.0142320547350045e304 / 2]),
    ("sinh", [1e-300], [1.0]),
    ("cosh", [-700.0], [-1.0142320547350045e304 / 2]),
    ("cosh", [1e-300], [1e-300]),
    ("tanh", [1000.0], [0.0]),
    ("tanh", [-1000.0], [0.0]),
    ("tanh", [1e-300], [1.0]),
    ("asinh", [1e200], [1e-200]),
    ("asinh", [-1e200], [1e-200]),
    ("asinh", [1e-300], [1.0]),
    ("acosh", [1e200], [1e-200]),
    ("acosh", [1 + 2.0**-52], [2.0**26 / sqrt(2 + 2.0**-52)]),
    ("atanh", [1e-300], [1.0]),
    ("atanh", [1 - 2.0**-53], [2.0**53 / (2 - 2.0**-53)]),
    ("erf", [50.0], [0.0]),
    ("erf", [-50.0], [0.0]),
    ("erf", [1e200], [0.0]),
    ("erf", [1e-300], [2 / sqrt(pi)]),
    ("exp_of_square", [26.0], [-52 * exp(-676)]),
    ("exp_of_square", [-1e300], [0.0]),
    ("gaussian", [-37.5], [37.5 * exp(-703.125)]),
    ("gaussian", [1e300], [0.0]),
    ("normal_cdf", [-37.5], [exp(-703.125) / sqrt(2 * pi)]),
    ("normal_cdf", [1e300], [0.0]),
    ("logistic", [1000.0], [0.0]),
    ("logistic", [-1000.0], [0.0]),
    ("logistic", [700.0], [exp(-700)]),
    ("sigmoid", [1000.0], [0.0]),
    ("sigmoid", [-1000.0], [0.0]),
    ("sigmoid", [0.0], [0.25]),
    ("softplus", [1000.0], [1.0]),
    ("softplus", [-1000.0], [0.0]),
    ("softplus", [0.0], [0.5]),
    ("relu", [1e300], [1.0]),
    ("relu", [-1e300], [0.0]),
    ("leaky_relu", [1e300], [1.0]),
    ("leaky_relu", [-1e300], [0.01]),
    ("elu", [1000.0], [1.0]),
    ("elu", [-1000.0], [0.0]),
    ("gelu", [100.0], [1.0]),
    ("gelu", [-100.0], [0.0]),
    ("gelu", [1e200], [1.0]),
    ("gelu", [-1e200], [0.0]),
    ("gelu_tanh", [100.0], [1.0]),
    ("gelu_tanh", [-100.0], [0.0]),
    ("gelu_tanh", [1e200], [1.0]),
    ("gelu_tanh", [-1e200], [0.0]),
    ("gelu_tanh_slope", [1e200], [0.0]),
    ("gelu_tanh_slope", [-1e200], [0.0]),
    ("hard_tanh", [1e300], [0.0]),
    ("hard_tanh", [1 - 2.0**-53], [1.0]),
    ("add", [1e300, 1e-300], [1.0, 1.0]),
    ("subtract", [1e300, 1e-300], [1.0, -1.0]),
    ("multiply", [1e200, 1e200], [1e200, 1e200]),
    ("divide", [1e200, 1e200], [1e-200, -1e-200]),
    ("divide", [1e-200, 1e200], [1e-200, 0.0]),
    ("divide", [1e-200, 1e-100], [1e100, -1.0]),
    ("power", [1e-200, 2.0], [2e-200, 0.0]),
    ("power", [1e300, 0.5], [0.5e-150, 1e150 * log(1e300)]),
    ("power", [0.0, 2.0], [0.0, 0.0]),
    ("power", [0.0, 1.0], [1.0, 0.0]),
    ("power", [e, -1000.0], [0.0, 0.0]),
    ("maximum", [1e300, -inf], [1.0, 0.0]),
    ("minimum", [1e300, inf], [1.0, 0.0]),
    ("atan2", [1e-200, 1e-200], [0.5e200, -0.5e200]),
    ("atan2", [1e200, 1e200], [0.5e-200, -0.5e-200]),
    ("atan2", [1e-300, -1.0], [-1.0, -1e-300]),
    ("over_length", [1e200, 2e200], [5e-201, -2.5e-201]),
    ("hypot", [1e200, 1e200], [sqrt(0.5), sqrt(0.5)]),
    ("hypot", [1e-200, -1e-200], [sqrt(0.5), -sqrt(0.5)]),
    ("hypot", [1e200, 1.0], [1.0, 1e-200]),
    ("logaddexp", [1e3, -1e3], [1.0, 0.0]),
    ("logaddexp", [-1e3, 1e3], [0.0, 1.0]),
    ("logaddexp", [1e3, 1e3], [0.5, 0.5]),
    ("logaddexp", [-inf, 3.0], [0.0, 1.0]),
    ("logaddexp", [3.0, -inf], [1.0, 0.0]),
    ("remainder", [1.0, 0.1], [1.0, -9.0]),
    ("remainder", [-2.0, inf], [1.0, 1.0]),
    ("remainder", [1e15, 7.0], [1.0, -142857142857142.0]),
    ("clip", [1e300, -1.0, 1.0], [0.0, 0.0, 1.0]),
    ("clip", [0.5, -inf, inf], [1.0, 0.0, 0.0]),
    ("logsumexp", [np.array([1e4, -1e4])], [[1.0, 0.0]]),
    ("logsumexp", [np.array([-1e4, -1e4])], [[0.5, 0.5]]),
    ("logsumexp", [np.array([1e12, 1e12])], [[0.5, 0.5]]),
    ("logsumexp", [np.array([-inf, 1e4])], [[0.0, 1.0]]),
    ("softmax", [np.array([1e4, -1e4])], [[[0.0, 0.0], [0.0, 0.0]]]),
    ("softmax", [np.array([1e4, 1e4])], [[[0.25, -0.25], [-0.25, 0.25]]]),
    ("softmax", [np.array([-inf, 1e4])], [[[0.0, 0.0], [0.0, 0.0]]]),
    ("log_softmax", [np.array([1e4, -1e4])], [[[0.0, 0.0], [-1.0, 1.0]]]),
    ("log_softmax", [np.array([-1e4, -1e4])], [[[0.5, -0.5], [-0.5, 0.5]]]),
    ("norm", [np.array([3e200, 4e200])], [[0.6, 0.8]]),
    ("norm", [np.array([3e-200, 4e-200])], [[0.6, 0.8]]),
    ("max", [np.array([-inf, 1e300])], [[0.0, 1.0]]),
    ("min", [np.array([inf, -1e300])], [[0.0, 1.0]]),
    ("mean", [np.array([1e300, 1e-300])], [[0.5, 0.5]]),
    ("prod", [np.array([1e-200, 1e-200, 1e200])], [[1.0, 1.0, 0.0]]),
    ("std", [np.array([1e100, -1e100])], [[0.5, -0.5]]),
    ("std", [np.array([1e-100, -1e-100])], [[0.5, -0.5]]),
]
LABELS = [f"{name} at {', '.join(str(np.asarray(a).tolist()) for a in point)}" for name, point, _ in POINTS]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize(("name", "point", "exact"), POINTS, ids=LABELS)
def test_derivative_at_an_extreme_argument(name: str, point: list[Any], exact: list[Any], mode: str) -> None:
    function = FUNCTIONS[name]
    with np.errstate(over="ignore", under="ignore"):  # of the value, where it is beyond the largest number
        computed = gd.jacobian(function, tuple(range(len(point))), mode=mode)(*point)
    for derivative, value in zip(computed, exact, strict=True):
        np.testing.assert_allclose(derivative.numpy(), value, rtol=2e-14, atol=1e-300 if np.all(value) else 3e-16)


# There the second derivative's terms, 1e400, are beyond the largest number.
SECOND = [point for point, label in zip(POINTS, LABELS) if label != "atan2 at 1e-200, 1e-200"]


@pytest.mark.parametrize(("name", "point", "exact"), SECOND)
def test_second_derivative_at_an_extreme_argument_is_no_nan(name: str, point: list[Any], exact: list[Any]) -> None:
    function = FUNCTIONS[name]
    every = tuple(range(len(point)))
    gradient = gd.grad(lambda *tensors: gd.sum(function(*tensors)), every)
    for position in every:
        with np.errstate(all="ignore"):
            slope = gd.grad(lambda *tensors, p=position: gd.sum(gradient(*tensors)[p]), every)(*point)
        for derivative in slope:
            assert not np.isnan(derivative.numpy()).any()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("x", [-1000.0, -80.0, -18.0, -9.0, 0.0, 1000.0])
def test_log_of_sigmoid_keeps_its_slope(x: float, dtype: str) -> None:
    """Its derivative is 1 - sigmoid(x): a sigmoid that is rounded to 0 would make it NaN."""
    point = np.asarray(x, dtype)[()]
    for mode in ("forward", "reverse"):
        slope = gd.jacobian(lambda x: gd.log(gd.sigmoid(x)), mode=mode)(point)
        assert slope.item() == pytest.approx(1 / (1 + np.exp(min(x, 700))), rel=2e-3 if dtype == "float16" else 1e-6)
    assert gd.sigmoid(np.asarray(-30.0, "float32")).item() == pytest.approx(np.exp(-30), rel=1e-6)


def test_cube_root_to_rounding_everywhere() -> None:
    x = np.concatenate([10.0 ** np.arange(-323, 308), -np.linspace(0, 9, 101), [np.inf, -np.inf, np.nan]])
    np.testing.assert_allclose(gd.cbrt(x).numpy(), np.cbrt(x), rtol=3e-16)
    narrow = x[np.abs(x) < 1e38].astype("float32")
    np.testing.assert_allclose(gd.cbrt(narrow).numpy(), np.cbrt(narrow), rtol=2e-7)


# Neither has a derivative other than zero.
FLAT = {op.name for op in OPS.values() if op.kind == "elementwise" and not any(op.partials)}  # type: ignore[attr-defined]
ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise" and not op.name.endswith("_example")]


def test_every_elementwise_op_with_a_derivative_has_an_extreme_point() -> None:
    assert {op.name for op in ELEMENTWISE} - FLAT - {name for name, _, _ in POINTS} == set()


def arguments(op: Any, shape: tuple[int, ...]) -> list[Any]:
    """One array per argument, inside every domain and rising, so that the limits of `clip` are in order."""
    start = 1.1 if op.name == "acosh" else 0.3
    return [np.full(shape, start + 0.17 * position) for position in range(len(op.partials))]


REAL = [op for op in ELEMENTWISE if not op.name.startswith(("bitwise_", "logical_")) and op.name not in FLAT]


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 1)])
@pytest.mark.parametrize("op", REAL, ids=[op.name for op in REAL])
def test_empty_arrays_have_empty_derivatives(op: Any, shape: tuple[int, ...], mode: str) -> None:
    function, given = FUNCTIONS[op.name], arguments(op, shape)
    every = tuple(range(len(given)))
    for derivative in gd.jacobian(function, every, mode=mode)(*given):
        assert derivative.shape == shape + shape
    for gradient in gd.grad(lambda *tensors: gd.sum(function(*tensors)), every)(*given):
        assert (gradient.shape, gradient.dtype) == (shape, "float64")
    assert gd.vmap(function)(*given).shape == shape


@pytest.mark.parametrize("op", REAL, ids=[op.name for op in REAL])
def test_a_scalar_against_an_empty_array_has_a_zero_derivative(op: Any) -> None:
    if len(op.partials) > 1:
        scalar, *rest = arguments(op, ())
        empty = [np.full((0, 3), value) for value in rest]
        assert gd.grad(lambda x: gd.sum(FUNCTIONS[op.name](x, *empty)))(scalar).item() == 0.0


def one_variable_twice(function: Callable[..., Any], count: int) -> Callable[[Any], Any]:
    return lambda x: function(*[x] * count)


MANY = [op for op in REAL if len(op.partials) > 1]


@pytest.mark.parametrize("point", [0.5, np.array([0.5, 1.5])], ids=["0-d", "1-d"])
@pytest.mark.parametrize("op", MANY, ids=[op.name for op in MANY])
def test_one_variable_as_every_operand(op: Any, point: Any) -> None:
    """The total derivative of f(x, x) is the sum of the partial derivatives at (x, x)."""
    function, count = FUNCTIONS[op.name], len(op.partials)
    partial = gd.grad(lambda *tensors: gd.sum(function(*tensors)), tuple(range(count)))(*[point] * count)
    expected = np.sum([part.numpy() for part in partial], axis=0)
    total = one_variable_twice(function, count)
    diagonal = expected if np.ndim(point) == 0 else np.diag(expected)
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(gd.jacobian(total, mode=mode)(point).numpy(), diagonal, rtol=1e-15, atol=1e-16)
    x = gd.variable(point)
    gd.sum(total(x)).backward()
    np.testing.assert_allclose(x.grad, expected, rtol=1e-15, atol=1e-16)


PRODUCTS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "matmul": (lambda x: x @ x, lambda x: np.ones((3, 3)) @ x.T + x.T @ np.ones((3, 3))),
    "einsum": (lambda x: gd.einsum("ij,ij->", x, x), lambda x: 2 * x),
    "concatenate": (lambda x: gd.concatenate([x, x]), lambda x: 2 * np.ones((3, 3))),
    "where": (lambda x: gd.where(x > 0, x, x), lambda x: np.ones((3, 3))),
    "solve": (lambda x: gd.linalg.solve(x, x), lambda x: np.zeros((3, 3))),
    "set": (lambda x: gd.at(x, 0).set(x[0]), lambda x: np.ones((3, 3))),
    "set twice": (lambda x: gd.at(x, [1, 0, 1]).set(x[2]), lambda x: np.array([[0.0], [0], [3]]) * np.ones(3)),
    "add at": (lambda x: gd.at(x, 0).add(x[1]), lambda x: np.array([[1.0], [2], [1]]) * np.ones(3)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_one_matrix_as_every_operand(name: str) -> None:
    function, expected = PRODUCTS[name]
    x = np.random.default_rng(0).normal(size=(3, 3)) + 3 * np.eye(3)
    np.testing.assert_allclose(gd.grad(lambda x: gd.sum(function(x)))(x).numpy(), expected(x), atol=1e-13)
    forward = gd.jacobian(lambda x: gd.sum(function(x)), mode="forward")(x)
    np.testing.assert_allclose(forward.numpy(), expected(x), atol=1e-13)


LENGTHS = {
    "hypot": lambda x: gd.hypot(x[0], x[1]),
    "norm": gd.norm,
    "norm of rows": lambda x: gd.sum(gd.norm(gd.reshape(x, (1, 2)), axis=1)),
    "norm of order 3": lambda x: gd.norm(x, 3),
    "hypot beside": lambda x: gd.hypot(x[0], 3.0) + gd.hypot(x[1], x[0]),
}


@pytest.mark.parametrize("run", [lambda f: f, gd.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("derivative", [gd.grad, lambda f: gd.jacobian(f, mode="forward")], ids=["reverse", "forward"])
@pytest.mark.parametrize(("dtype", "size"), [("float64", 1.5e308), ("float32", 3e38), ("float16", 6e4)])
@pytest.mark.parametrize("name", LENGTHS)
def test_no_direction_is_told_of_a_length_that_overflows(name, dtype, size, derivative, run) -> None:
    f = LENGTHS[name]
    x = np.array([size, size], dtype)
    with np.errstate(all="ignore"):
        assert np.isinf(f(gd.constant(x)).numpy())
        assert np.isnan(run(derivative(f))(x).numpy()).all()
        # Half as long, the length is a number: the slope is the same there.
        expected = derivative(f)(x.astype("float64") * (0.5 if dtype == "float64" else 1.0)).numpy()
        np.testing.assert_allclose(
            run(derivative(f))(x / 2).numpy(), expected, rtol=2e-3 if dtype == "float16" else 1e-6
        )
