"""What is not chosen, or does not move, contributes exactly zero to every derivative, in every mode."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_ops import CASES as CASES_OF_OPS

import graphdiff as gd

pytestmark = [
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning"),
]

Function = Callable[[Any], Any]
MODES = ("forward", "reverse", "elimination", "auto")

# At points where one element is not chosen: the first derivative of the sum, and the second's diagonal.
ABOVE: dict[str, tuple[Function, list[float], list[float], list[float]]] = {
    "sqrt of relu": (lambda d: gd.sqrt(gd.relu(d)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "log of relu": (lambda d: gd.log(gd.relu(d)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 16]),
    "reciprocal of relu": (lambda d: 1 / gd.relu(d), [-1.0, 2.0], [0.0, -0.25], [0.0, 0.25]),
    "power of relu": (lambda d: gd.relu(d) ** 0.5, [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "sqrt of maximum": (lambda d: gd.sqrt(gd.maximum(d, 0.0)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "log of maximum": (lambda d: gd.log(gd.maximum(0.0, d)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 16]),
    "sqrt of minimum": (lambda d: gd.sqrt(-gd.minimum(-d, 0.0)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "sqrt of clip": (lambda d: gd.sqrt(gd.clip(d, 0.0, 9.0)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "log of clip": (lambda d: gd.log(gd.clip(d, 0.0, 9.0)), [-1.0, 4.0], [0.0, 0.25], [0.0, -1 / 16]),
    "acosh of hard_tanh": (lambda d: gd.acos(gd.hard_tanh(d)), [2.0, 0.0], [0.0, -1.0], [0.0, 0.0]),
    "sqrt of a maximum": (lambda d: gd.sqrt(gd.max(d) - d), [4.0, 3.0], [np.nan, -0.5], [np.nan, -0.25]),
    "sqrt of the greatest": (lambda d: gd.sqrt(gd.max(d)), [4.0, -3.0], [0.25, 0.0], [-1 / 32, 0.0]),
    "log of the least": (lambda d: gd.log(gd.min(d)), [4.0, 9.0], [0.25, 0.0], [-1 / 16, 0.0]),
    "reciprocal of a triangle": (
        lambda d: gd.where(gd.tril(gd.ones((2, 2))) > 0, 1 / gd.tril(d[None] * gd.ones((2, 1))), 0.0),
        [1.0, 2.0],
        [-2.0, -0.25],
        [4.0, 0.25],
    ),
    "sqrt of a pad": (lambda d: gd.sqrt(gd.pad(d, 1)), [1.0, 4.0], [0.5, 0.25], [-0.25, -1 / 32]),
}
BELOW: dict[str, tuple[Function, list[float], list[float], list[float]]] = {
    "relu of log": (lambda x: gd.relu(gd.log(x)), [0.0, 2.0], [0.0, 0.5], [0.0, -0.25]),
    "relu of a product with log": (lambda x: gd.relu(3 * gd.log(x)), [0.0, 2.0], [0.0, 1.5], [0.0, -0.75]),
    "maximum": (lambda x: gd.maximum(gd.sqrt(x), 1.0), [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "minimum, where exp overflows": (lambda x: gd.minimum(gd.exp(x), 5.0), [1e3, 0.0], [0.0, 1.0], [0.0, 1.0]),
    "clip": (lambda x: gd.clip(gd.log(x), -1.0, 5.0), [0.0, 2.0], [0.0, 0.5], [0.0, -0.25]),
    "hard_tanh": (lambda x: gd.hard_tanh(-1 / x), [0.0, 4.0], [0.0, 1 / 16], [0.0, -1 / 32]),
    "greatest": (lambda x: gd.max(gd.sqrt(x)), [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "an element": (lambda x: gd.sqrt(x)[1], [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "elements by list": (lambda x: gd.sqrt(x)[[1, 1]], [0.0, 4.0], [0.0, 0.5], [0.0, -1 / 16]),
    "take": (lambda x: gd.take(gd.sqrt(x), 1), [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "the last in order": (lambda x: gd.sort(gd.sqrt(x))[-1], [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "top": (lambda x: gd.topk(gd.sqrt(x), 1)[0], [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "quantile": (lambda x: gd.quantile(gd.sqrt(x), 1.0), [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "set": (lambda x: gd.at(gd.sqrt(x), 0).set(7.0), [0.0, 4.0], [0.0, 0.25], [0.0, -1 / 32]),
    "where": (lambda x: gd.where(x > 0.1, gd.sqrt(x), 0.0) * x, [-1.0, 1.0], [0.0, 1.5], [0.0, 0.75]),
    "where beside an opened op": (
        lambda x: gd.where(x > 0, gd.cumprod(gd.sqrt(x)), 0.0),
        [4.0, 9.0],
        [0.25 + 0.75, 1 / 3],
        [-1 / 32 - 3 / 32, -1 / 54],
    ),
}
CASES = ABOVE | BELOW


def summed(function: Function) -> Function:
    return lambda x: gd.sum(function(x))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_what_is_not_chosen_contributes_exactly_zero(name: str, mode: str) -> None:
    function, point, first, second = CASES[name]
    x = np.array(point)
    slope, curvature = gd.jacobian(summed(function), mode=mode), gd.hessian(summed(function), mode=mode)
    for derive in (lambda f: f, gd.compile):
        np.testing.assert_allclose(derive(slope)(x).numpy(), first, rtol=1e-12)
        np.testing.assert_allclose(np.diag(derive(curvature)(x).numpy()), second, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_so_it_is_in_gradients_and_batches(name: str) -> None:
    function, point, first, second = CASES[name]
    x, twice = np.array(point), np.array([point, point[::-1], point])
    gradient = gd.grad(summed(function))
    for derive in (lambda f: f, gd.compile):
        np.testing.assert_allclose(derive(gradient)(x).numpy(), first, rtol=1e-12)
        if not name.startswith(("the last", "top")):
            mapped = derive(gd.vmap(gradient))(twice)
            np.testing.assert_allclose(mapped.numpy()[[0, 2]], [first, first], rtol=1e-12)
    again = gd.grad(lambda x: gd.grad(summed(function))(x)[1])(x)
    np.testing.assert_allclose(again.numpy()[1], second[1], rtol=1e-12)


ACROSS: dict[str, tuple[Function, list[float], Any]] = {
    "sqrt": (gd.sqrt, [0.0, 1.0], [[np.inf, 0.0], [0.0, 0.5]]),
    "log": (gd.log, [0.0, 1.0], [[np.inf, 0.0], [0.0, 1.0]]),
    "sine at infinity": (gd.sin, [np.inf, 0.0], [[np.nan, 0.0], [0.0, 1.0]]),
    "product with infinity": (lambda x: x * x, [np.inf, 1.0], [[np.inf, 0.0], [0.0, 2.0]]),
    "root, scaled": (lambda x: 3 * gd.sqrt(x), [0.0, 1.0], [[np.inf, 0.0], [0.0, 1.5]]),
    "roots of sums of neighbours": (
        lambda x: gd.sqrt(x[1:] + x[:-1]),
        [0.0, 0.0, 4.0],
        [[np.inf, np.inf, 0], [0, 0.25, 0.25]],
    ),
    "running sums": (lambda x: gd.cumsum(gd.log(x)), [1.0, 0.0, 2.0], [[1, 0, 0], [1, np.inf, 0], [1, np.inf, 0.5]]),
    "rows": (
        lambda x: (gd.sqrt(gd.reshape(x, (2, 1))) @ np.array([[1.0, 2.0]]))[:, 1],
        [0.0, 1.0],
        [[np.inf, 0.0], [0.0, 1.0]],
    ),
    "power": (lambda v: v[0] ** v[1], [-2.0, 2.0], [-4.0, np.nan]),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ACROSS)
def test_a_direction_in_which_nothing_moves_meets_no_pole(name: str, mode: str) -> None:
    function, point, expected = ACROSS[name]
    np.testing.assert_allclose(gd.jacobian(function, mode=mode)(np.array(point)).numpy(), expected)
    if np.isfinite(point).all():
        np.testing.assert_allclose(gd.compile(gd.jacobian(function, mode=mode))(np.array(point)).numpy(), expected)


def test_a_zero_of_the_numbers_is_not_one_of_the_structure() -> None:
    # The square of a root is x, with derivative 1; from 0 · ∞ nothing is known.
    for mode in MODES:
        assert np.isnan(gd.jacobian(lambda x: gd.relu(gd.sqrt(x) ** 2 + 1), mode=mode)(0.0).item())
    assert gd.grad(gd.grad(lambda x: gd.relu(gd.sin(x) ** 2 + gd.exp(x))))(0.0).item() == pytest.approx(3.0)


def test_an_op_that_chooses_by_a_rule_of_its_own() -> None:
    chosen = gd.op.elementwise(
        "upper_half_example",
        lambda F, out, x: F.astype(x > 0.5, x.dtype),
        evaluate=lambda F, x: F.where(x > 0.5, x, F.zeros_like(x)),
        poles=False,
        chooses=True,
    )
    for mode in MODES:
        slope = gd.jacobian(lambda x: gd.sum(gd.log(chosen(gd.sqrt(x)))), mode=mode)(np.array([0.0, 4.0]))
        np.testing.assert_allclose(slope.numpy(), [0.0, 0.125])


def test_networks_without_poles_are_differentiated_as_plainly_as_before() -> None:
    x, w = gd.variable(np.ones((4, 3))), gd.variable(np.ones((3, 2)))
    slopes = gd.adjoints(gd.nn.squared_error(gd.relu(x @ w), np.zeros((4, 2))))
    assert "where" not in {node.op.name for slope in slopes.values() for node in gd.Graph(slope) if node.op}


def test_batch_normalisation_has_no_pole_below_its_relu() -> None:
    layers = gd.nn.Sequential(gd.nn.Linear(2, in_features=3), gd.nn.BatchNorm(2), gd.nn.Activation("relu"))
    loss = gd.mean(layers(gd.variable(np.random.default_rng(0).normal(size=(5, 3)).astype("float32"))) ** 2)
    slopes = gd.adjoints(loss)
    assert "where" not in {node.op.name for slope in slopes.values() for node in gd.Graph(slope) if node.op}


# Masks lose nothing ------------------------------------------------------------------------------------------------


def halves(shape: tuple[int, ...], start: int) -> Any:
    """Every other element."""
    return ((np.arange(int(np.prod(shape))) + start) % 2 == 0).reshape(shape)


@pytest.mark.parametrize("case", CASES_OF_OPS, ids=[case[0] for case in CASES_OF_OPS])
def test_what_is_chosen_contributes_all_that_it_does(case: Any) -> None:
    """Half of the elements of every argument stand still and half of the result's are not chosen: the rest is there."""
    _, function, arguments = case
    every = tuple(range(len(arguments)))
    moving = [halves(np.shape(argument), 0) for argument in arguments]
    chosen = halves(function(*arguments).shape, len(arguments))
    plain = gd.jacobian(function, every, mode="reverse")(*arguments)

    def half(*tensors: Any) -> Any:
        given = [gd.where(m, x, a) for m, x, a in zip(moving, tensors, arguments, strict=True)]
        return gd.where(chosen, function(*given), 0.0)

    expected = [
        np.where(np.logical_and.outer(chosen, m), whole.numpy(), 0.0) for whole, m in zip(plain, moving, strict=True)
    ]
    for mode in ("forward", "reverse"):
        for found, whole in zip(gd.jacobian(half, every, mode=mode)(*arguments), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), whole, rtol=1e-9, atol=1e-12)
    weights = np.arange(1.0, 1 + chosen.size).reshape(chosen.shape)
    gradient = gd.grad(lambda *tensors: gd.sum(half(*tensors) * weights), every)(*arguments)
    for found, whole in zip(gradient, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), np.tensordot(weights, whole, weights.ndim), rtol=1e-9, atol=1e-9)


def test_below_the_last_pole_nothing_is_masked_but_choices() -> None:
    """The logarithm above a network takes its layers' products no more care than they need."""
    w, v = gd.variable(np.ones((3, 4))), gd.variable(np.ones((4, 2)))
    x = np.ones((5, 3))
    slopes = gd.adjoints(gd.mean(gd.log(gd.sigmoid(gd.relu(gd.relu(x @ w) @ v)))))
    names = [node.op.name for node in gd.Graph([slopes[w], slopes[v]]) if node.op]
    assert "isfinite" not in names
    assert names.count("matmul") == 5


@pytest.mark.parametrize("exponent", [np.nan, np.inf])
def test_a_power_that_is_no_number_has_a_tangent(exponent) -> None:
    for run in (lambda f: f, gd.compile):
        value, tangent = run(lambda x: gd.jvp(lambda x: x**exponent, (x,), (1.0,)))(2.0)
        np.testing.assert_array_equal(value.numpy(), 2.0**exponent)
        np.testing.assert_array_equal(tangent.numpy(), exponent * 2.0 ** (exponent - 1))


def test_what_is_checkpointed_stands_beside_choices() -> None:
    def f(x):
        return gd.sum(gd.checkpoint(lambda z: gd.clip(z, -1, 1) * z)(gd.relu(x)))

    x = np.array([-2.0, 0.5, 3.0])
    for run in (lambda f: f, gd.compile):
        np.testing.assert_array_equal(run(gd.grad(f))(x).numpy(), [0.0, 1.0, 1.0])
        np.testing.assert_array_equal(run(lambda x: gd.jacobian(f, mode="forward")(x))(x).numpy(), [0.0, 1.0, 1.0])


@pytest.mark.parametrize("factor", [np.inf, np.nan])
@pytest.mark.parametrize("of", [gd.relu, lambda x: gd.maximum(x, 0), lambda x: gd.clip(x, 0, 1)])
def test_tangents_know_of_infinite_constants_in_a_trace_and_outside(of, factor) -> None:
    def tangent(x):
        return gd.jvp(lambda x: of(x) * np.array([factor, factor]), (x,), (np.ones(2),))[1]

    for run in (lambda f: f, gd.compile):
        np.testing.assert_array_equal(run(tangent)(np.array([-2.0, 0.5])).numpy(), [0.0, factor])
