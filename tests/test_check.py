"""check_grads passes what is right, and says which op is wrong, where and by how much."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import GradientCheckError
from graphdiff.op import FUNCTIONS, OPS, custom, elementwise, linear

X = np.array([0.5, -0.8, 1.4])


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Take away the ops that a test declares."""
    known, functions = set(OPS), set(FUNCTIONS)
    yield
    for name in set(OPS) - known:
        del OPS[name]
    for name in set(FUNCTIONS) - functions:
        del FUNCTIONS[name]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lambda x: gd.sum(gd.sin(x) * gd.exp(x)), [X]),
        (lambda x, y: {"product": x @ y, "norm": [gd.linalg.norm(y)]}, [np.ones((2, 3)), X]),
        (lambda p: gd.logsumexp(p["a"]) * p["b"], [{"a": X, "b": 2.0}]),
        (lambda x: gd.softmax(x), [[1.0, 2.0]]),
        (lambda x: x * 1e6, [gd.constant(X)]),
        (lambda x: x * 1e-6, [1]),
        (lambda x: x[:0], [X]),
    ],
)
def test_right_functions_pass(function: Callable[..., Any], arguments: list[Any], order: int) -> None:
    report = gd.check_grads(function, *arguments, order=order)
    assert report.passed
    assert report.worst().passed
    assert "FAILED" not in str(report)


def test_the_report_names_what_was_compared() -> None:
    report = gd.check_grads(lambda x, y: gd.sum(gd.sin(x) * y), gd.variable(X, name="angle"), 2.0, order=2)
    modes = {comparison.mode for comparison in report.comparisons}
    for mode in ("forward", "reverse"):
        for reference in ("finite differences", "complex step"):
            assert {f"{mode} – {reference}", f"second order, {mode} – {reference}"} <= modes
    assert any("dot product" in mode for mode in modes)
    assert {comparison.argument for comparison in report.comparisons} == {"angle", "#1", "all"}
    lines = str(report).splitlines()
    assert len(lines) == 1 + 2 * 8 + 1  # a head, two arguments in eight comparisons, the dot product
    expected = {
        c.index: c.expected for c in report.comparisons if (c.mode, c.argument) == ("reverse – complex step", "angle")
    }
    weight = expected[(0,)] / (2 * np.cos(X[0]))
    np.testing.assert_allclose([expected[(i,)] for i in range(3)], weight * 2 * np.cos(X), rtol=1e-12)


def message_of(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(GradientCheckError) as caught:
        gd.check_grads(function, *arguments, **options)
    return str(caught.value)


NUMBER = r"(-?[\d.]+(?:e[-+]\d+)?)"


def parts_of(message: str) -> tuple[str, str, float, float, float]:
    """Return argument, index, the value computed, the value expected and the relative error."""
    found = re.search(
        rf"argument (\S+) at index (\(.*?\)) is {NUMBER}, expected {NUMBER} \(relative error {NUMBER}", message
    )
    assert found is not None, message
    return found[1], found[2], float(found[3]), float(found[4]), float(found[5])


def test_a_wrong_partial_is_found_in_both_modes() -> None:
    wrong = elementwise("wrong_cube", lambda F, out, x: 2 * x * x, evaluate=lambda F, x: x * x * x)
    for modes in (("forward",), ("reverse",)):
        message = message_of(lambda x, y: gd.sum(gd.sin(y)) + wrong(x), gd.variable(3.0, name="speed"), X, modes=modes)
        assert message.startswith(modes[0])
        assert "The rule of wrong_cube disagrees" in message
        assert "sin" not in message.partition("\n")[0]
        argument, index, computed, expected, error = parts_of(message)
        assert (argument, index) == ("speed", "()")
        assert computed / expected == pytest.approx(2 / 3, rel=1e-6)
        assert error == pytest.approx(1 / 3, rel=1e-2)


def test_the_worst_index_is_named() -> None:
    bad = np.array([0.0, 0.0, 1.0])
    wrong = elementwise("wrong_third", lambda F, out, x: 1 + bad, evaluate=lambda F, x: +x)
    argument, index, computed, expected, _ = parts_of(message_of(lambda x: wrong(x), X))
    assert (argument, index) == ("#0", "(2,)")
    assert computed == pytest.approx(2 * expected, rel=1e-6)


@pytest.mark.parametrize("broken", ["forward", "reverse"])
def test_a_rule_wrong_in_one_mode_only(broken: str) -> None:
    factor = {"forward": 1.0, "reverse": 1.0, broken: 1.5}
    wrong = custom(
        f"wrong_{broken}",
        tangent=lambda F, tangents, out, x: factor["forward"] * 2 * x * tangents[0],
        adjoint=lambda F, cotangent, position, out, x: factor["reverse"] * 2 * x * cotangent,
        evaluate=lambda F, x: x * x,
    )
    message = message_of(wrong, X)
    assert f"wrong_{broken}" in message.partition("\n")[0]
    failed = [row for row in message.splitlines() if row.endswith("FAILED")]
    assert any(row.startswith(broken) for row in failed)
    assert any(row.startswith("dot product") for row in failed)
    assert not any(row.startswith({"forward": "reverse", "reverse": "forward"}[broken]) for row in failed)


def test_a_wrong_transpose_fails_against_its_own_tangent() -> None:
    wrong = linear("wrong_reverse", lambda F, cotangent, x: cotangent, evaluate=lambda F, x: x[::-1])
    message = message_of(wrong, X)
    assert "wrong_reverse" in message.partition("\n")[0]
    assert re.search(r"dot product.*FAILED", message)


def test_a_derivative_wrong_at_second_order_only() -> None:
    wrong = elementwise("wrong_sine", lambda F, out, x: F.stop_gradient(F.cos(x)), evaluate=lambda F, x: F.sin(x))
    assert gd.check_grads(lambda x: gd.sum(wrong(x)), X).passed
    message = message_of(lambda x: gd.sum(gd.exp(x) * wrong(x)), X, order=2)
    assert message.startswith("second order, ")
    assert "wrong_sine" in message.partition("\n")[0]
    argument, index, computed, expected, error = parts_of(message)
    assert argument == "#0"
    assert index in {"(0,)", "(1,)", "(2,)"}
    assert error == pytest.approx(abs(computed - expected) / max(1, abs(computed), abs(expected)), rel=1e-2)


def test_a_derivative_that_is_nan_fails() -> None:
    wrong = elementwise("wrong_nan", lambda F, out, x: x * float("nan"), evaluate=lambda F, x: x * 2)
    with pytest.raises(GradientCheckError, match=r"wrong_nan"):
        gd.check_grads(wrong, X)


def test_the_error_is_an_assertion_and_nothing_is_changed() -> None:
    wrong = elementwise("wrong_double", lambda F, out, x: 3 + 0 * x, evaluate=lambda F, x: 2 * x)
    x = gd.variable(X)
    with pytest.raises(AssertionError):
        gd.check_grads(wrong, x)
    assert (x.tolist(), x.grad, x.version) == (X.tolist(), None, 0)
