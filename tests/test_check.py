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


# Points where differences are delicate ---------------------------------------------------------------------------

HARD: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "log near 0": (gd.log, [np.array([1e-3])]),
    "log at 1e-30": (gd.log, [np.array([1e-30, 1.0])]),
    "sqrt near 0": (gd.sqrt, [1e-6]),
    "sqrt at 1e-300": (gd.sqrt, [1e-300]),
    "beside a large entry": (lambda x: gd.sum(x**3), [np.array([1e3, 1e-3])]),
    "beside a huge entry": (lambda x: gd.sum(x**2), [np.array([1e8, 1e-8, 0.0])]),
    "reciprocal near 0": (lambda x: 1 / x, [np.array([1e-8, -1e-5])]),
    "large": (gd.log, [np.array([1e200, 1e10])]),
    "oscillating": (lambda x: gd.sin(300 * x), [np.array([1.0, 2.0])]),
    "oscillating, no complex step": (lambda x: gd.gelu(30 * gd.sin(300 * x)), [np.array([1.0, 2.0])]),
    "steep": (lambda x: gd.exp(-1e4 * x * x), [np.array([0.01, 1e-3, 0.0])]),
    "large offset": (lambda x: gd.sum(gd.erf(x)) + 1e6, [np.array([0.1, 1.0])]),
    "atanh near 1": (gd.atanh, [np.array([1 - 1e-6])]),
    "acosh near 1": (gd.acosh, [np.array([1 + 1e-6])]),
    "asin near 1": (gd.asin, [np.array([1 - 1e-9])]),
    "tan near its pole": (gd.tan, [1.5707]),
    "power": (lambda x, y: x**y, [np.array([1e-4, 50.0]), np.array([0.5, 3.0])]),
    "division by little": (lambda x, y: x / y, [1.0, 1e-5]),
    "zero": (lambda x: gd.erf(x) * x, [np.zeros(3)]),
    "tiny derivatives": (lambda x: 1e-12 * gd.gelu(x), [X]),
    "far in the tail": (gd.erf, [np.array([5.0, -6.0])]),
    "softplus in the tail": (gd.softplus, [np.array([-30.0, 40.0])]),
    "norm of little": (gd.norm, [np.array([1e-7, 2e-7])]),
    "hypot": (gd.hypot, [1e-6, 1.0]),
    "atan2": (gd.atan2, [1e-6, -1.0]),
    "nothing": (lambda x: 0 * gd.erf(x) + 2.0, [X]),
    "beside a kink": (lambda x: gd.relu(gd.erf(x)), [np.array([1e-3, -1e-3])]),
    "beside a jump": (lambda x: gd.floor(x) + gd.erf(x), [np.array([1.001, 0.999])]),
    "determinant": (gd.det, [np.array([[1e-3, 2.0], [3.0, 1e3]])]),
    "cancelling": (lambda x: gd.erf(x + 1.0) - gd.erf(x - 1.0), [np.array([1e-3, 0.0])]),
}


@pytest.mark.parametrize("name", HARD)
def test_right_functions_pass_at_hard_points(name: str) -> None:
    function, arguments = HARD[name]
    assert gd.check_grads(function, *arguments).passed


SECOND = sorted(set(HARD) - {"sqrt at 1e-300", "log at 1e-30", "norm of little", "beside a huge entry"})


@pytest.mark.parametrize("name", SECOND)
def test_right_functions_pass_at_hard_points_at_second_order(name: str) -> None:
    function, arguments = HARD[name]
    assert gd.check_grads(function, *arguments, order=2).passed


@pytest.mark.parametrize("factor", [1 + 1e-4, 1 - 1e-4, -1.0, 0.0, 2.0])
@pytest.mark.parametrize("place", [1e-3, 0.7, 30.0, 1e3])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_wrong_rules_are_found_however_small_they_are(factor: float, place: float, scale: float) -> None:
    wrong = elementwise(
        "wrong_log", lambda F, out, x: factor * scale / x, evaluate=lambda F, x: scale * F.log(x), dtype="float"
    )
    assert "wrong_log" in message_of(wrong, np.array([place]))
    assert "wrong_log" in message_of(lambda x: gd.sum(wrong(x)), np.array([place, 2.0]))


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_one_wrong_entry_among_others(entry: int) -> None:
    right = np.ones(3)
    right[entry] += 1e-4
    wrong = elementwise("wrong_square", lambda F, out, x: 2 * x * right, evaluate=lambda F, x: x * x)
    for function in (
        lambda x: gd.concatenate([wrong(x), x * 1e3]),
        lambda x: gd.sum(wrong(gd.erf(x))),
        lambda x: gd.stack([gd.sum(wrong(x)), gd.sum(x) * 1e4]),
    ):
        message = message_of(function, np.array([0.3, 0.7, 0.9]))
        assert "wrong_square" in message
        assert f"at index ({entry},)" in message


def test_numbers_are_derivatives() -> None:
    report = gd.check_grads(gd.sin, [0.5])
    for comparison in report.comparisons:
        if comparison.argument != "all":
            assert comparison.computed == pytest.approx(np.cos(0.5), rel=1e-15)
            assert comparison.expected == pytest.approx(np.cos(0.5), rel=1e-9)
    several = gd.check_grads(lambda x: gd.stack([gd.sin(x[0]), x[0] * x[1]]), np.array([0.5, 2.0]), order=2)
    found = {(c.output, c.index): c.computed for c in several.comparisons if c.mode.startswith("reverse")}
    assert found == pytest.approx({(0, (0,)): np.cos(0.5), (0, (1,)): 0, (1, (0,)): 2.0, (1, (1,)): 0.5}, rel=1e-14)
    curve = gd.check_grads(lambda x: x**3, 2.0, order=2)
    assert {c.computed for c in curve.comparisons if c.mode.startswith("second")} == {12.0}


def test_many_outputs_are_compared_together() -> None:
    x = np.linspace(0.1, 1, 50)
    assert gd.check_grads(lambda x: gd.sin(x) * 2, x, order=2).passed
    wrong = elementwise("wrong_many", lambda F, out, x: F.cos(x) * (x < 0.99), evaluate=lambda F, x: F.sin(x))
    assert "wrong_many" in message_of(wrong, x)


def test_a_kink_is_no_rounding() -> None:
    with pytest.raises(GradientCheckError):
        gd.check_grads(lambda x: gd.relu(gd.erf(x)), np.array([0.0, 1.0]))


def test_strict_refuses_adjoints_that_leave_the_sum_to_the_engine() -> None:
    def scaled(adjoint: Any, name: str) -> Any:
        return custom(
            name,
            tangent=lambda F, tangents, out, x, y: sum(
                t * other for t, other in zip(tangents, (y, x), strict=True) if t is not None
            ),
            adjoint=adjoint,
            evaluate=lambda F, x, y: x * y,
            infer=lambda x, y: (np.broadcast_shapes(x.shape, y.shape), x.dtype),
        )

    careless = scaled(lambda F, c, position, out, x, y: c * (y, x)[position], "careless_example")
    careful = scaled(
        lambda F, c, position, out, x, y: c * y if position == 0 else F.sum(c * x, axis=0), "careful_example"
    )
    x, y = np.arange(6.0).reshape(2, 3) + 1, np.array([1.0, 2.0, 3.0])
    assert gd.check_grads(careless, x, y).passed
    assert gd.check_grads(careful, x, y, strict=True).passed
    assert gd.check_grads(lambda x, y: gd.sum(careful(x, y) * y + x @ y[:, None]), x, y, strict=True, order=2).passed
    with pytest.raises(GradientCheckError, match=r"careless_example by argument 1.*\[3\].*shape \[2, 3\]: sum over"):
        gd.check_grads(careless, x, y, strict=True)
    assert gd.check_grads(careless, x, x, strict=True).passed
