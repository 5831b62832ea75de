"""Ops with a rule by hand: one rule serves both modes, arguments without a derivative, state, and what is refused."""

from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.errors import NotDifferentiableError, OpError

X, Y = np.array([[0.3, -1.2, 0.8], [0.5, 0.1, -0.4]]), np.array([0.7, -0.2, 1.5])


declare = gd.op.custom


def tangent(F: Any, tangents: Any, out: Any, x: Any, y: Any) -> Any:
    parts = [
        moved * slope for moved, slope in zip(tangents, (F.cos(x) * y, F.sin(x)), strict=True) if moved is not None
    ]
    return sum(parts[1:], start=parts[0])


def adjoint(F: Any, v: Any, position: int, out: Any, x: Any, y: Any) -> Any:
    return v * F.cos(x) * y if position == 0 else v * F.sin(x)


RULES: dict[str, dict[str, Any]] = {
    "adjoint": {"adjoint": adjoint},
    "tangent": {"tangent": tangent},
    "both": {"adjoint": adjoint, "tangent": tangent},
}


@pytest.fixture(params=RULES)
def product(request: pytest.FixtureRequest) -> Any:
    """sin(x) · y, where y is broadcast."""
    return declare("sine_times", evaluate=lambda F, x, y: F.sin(x) * y, **RULES[request.param])


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse", "elimination"])
def test_one_rule_serves_every_mode(product: Any, mode: str) -> None:
    by_x, by_y = gd.jacobian(product, (0, 1), mode=mode)(X, Y)
    expected = np.einsum("ij,ia,jb->ijab", np.cos(X) * Y, np.eye(2), np.eye(3))
    np.testing.assert_allclose(by_x.numpy(), expected, rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(by_y.numpy(), np.sin(X)[..., None] * np.eye(3), rtol=1e-14, atol=1e-16)


def test_second_order_batches_plans_and_float32(product: Any) -> None:
    def scalar(x: Any, y: Any) -> Any:
        return gd.sum(product(x, y) ** 2)

    def plain(x: Any, y: Any) -> Any:
        return gd.sum((gd.sin(x) * y) ** 2)

    for derivative in (gd.hessian, gd.grad, lambda f: gd.compile(gd.hessian(f)), lambda f: gd.compile(gd.grad(f))):
        np.testing.assert_allclose(derivative(scalar)(X, Y).numpy(), derivative(plain)(X, Y).numpy(), atol=1e-14)
    assert gd.check_grads(product, X, Y, order=2).passed
    wide = np.stack([X, 2 * X])
    np.testing.assert_allclose(gd.vmap(product, in_axes=(0, None))(wide, Y).numpy(), np.sin(wide) * Y, rtol=1e-15)
    narrow = gd.jvp(product, (X.astype("float32"), Y.astype("float32")), (X.astype("float32"), Y.astype("float32")))
    assert [part.dtype for part in narrow] == ["float32", "float32"]


def test_an_input_twice_and_one_without_derivative(product: Any) -> None:
    _, moved = gd.jvp(lambda x: product(x, x), (Y,), (np.ones(3),))
    np.testing.assert_allclose(moved.numpy(), np.cos(Y) * Y + np.sin(Y), rtol=1e-14)
    _, moved = gd.jvp(lambda x: product(x, Y), (Y,), (np.ones(3),))
    np.testing.assert_allclose(moved.numpy(), np.cos(Y) * Y, rtol=1e-14)


def test_one_adjoint_for_two_inputs() -> None:
    summed = declare("summed", evaluate=lambda F, x, y: x + y, adjoint=lambda F, v, position, out, x, y: v)
    _, moved = gd.jvp(summed, (Y, Y), (np.ones(3), 2 * np.ones(3)))
    np.testing.assert_array_equal(moved.numpy(), 3 * np.ones(3))


def test_state_is_computed_once() -> None:
    calls = []

    def expensive(x: Any) -> Any:
        calls.append(x)
        return np.cos(x)

    same: dict[str, Any] = {"infer": lambda x, *state: (x.shape, x.dtype)}
    slope = declare("slope", evaluate=lambda F, x: expensive(x), adjoint=lambda F, v, position, out, x: None, **same)
    sine = declare(
        "sine",
        evaluate=lambda F, x, state: F.sin(x),
        adjoint=lambda F, v, position, out, x, state: v * state if position == 0 else None,
        **same,
    )
    x = gd.variable(Y)
    result = gd.sum(sine(x, slope(x)))
    result.backward()
    np.testing.assert_allclose(x.grad, np.cos(Y), rtol=1e-15)
    assert len(calls) == 1
    np.testing.assert_allclose(gd.jacobian(lambda x: sine(x, slope(x)), mode="forward")(Y).numpy(), np.diag(np.cos(Y)))


def test_arguments_by_keyword() -> None:
    scaled = declare("scaled", evaluate=lambda F, x, *, by: x, adjoint=lambda F, v, position, out, x, *, by: by * v)
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(gd.jacobian(lambda x: scaled(x, by=0.5), mode=mode)(Y).numpy(), 0.5 * np.eye(3))


def test_a_rule_that_is_not_linear_serves_its_own_mode() -> None:
    clipped = declare("clipped", evaluate=lambda F, x: x, adjoint=lambda F, v, position, out, x: v / (1 + v * v))
    np.testing.assert_allclose(gd.grad(lambda x: gd.sum(3 * clipped(x)))(Y).numpy(), 0.3 * np.ones(3))
    with pytest.raises(NotDifferentiableError, match=r"'clipped' .*not linear.*declare both"):
        gd.jvp(clipped, (Y,), (Y,))
    with pytest.raises(NotDifferentiableError, match=r"'clipped' .*not linear"):
        gd.jacobian(clipped, mode="forward")(Y)


def test_an_op_without_rules_has_no_derivative() -> None:
    bare = declare("bare", evaluate=lambda F, x: 2 * x)
    for derivative, missing in ((gd.grad, "adjoint"), (lambda f: lambda x: gd.jvp(f, (x,), (x,)), "tangent")):
        with pytest.raises(NotDifferentiableError, match=f"'bare' defines no {missing}"):
            derivative(bare)(1.0)


def test_what_an_op_cannot_return() -> None:
    pair = declare("pair", evaluate=lambda F, x: (x, x), adjoint=lambda F, v, position, out, x: v)
    with pytest.raises(OpError, match="'pair' evaluates to a tuple of 2; an op has one value"):
        pair(gd.variable(Y))
    total = declare("total", evaluate=lambda F, x: F.sum(x), adjoint=lambda F, v, position, out, x: v)
    with pytest.raises(OpError, match=r"an adjoint rule returned shape \(\) for an operand of shape \(3,\)"):
        gd.grad(total)(Y)


def test_a_shape_rule_is_needed_where_the_evaluation_cannot_be_opened() -> None:
    outside = declare("outside", evaluate=lambda F, x: np.asarray(x) + 1, adjoint=lambda F, v, position, out, x: v)
    assert gd.grad(outside)(1.0).item() == 1.0
    with pytest.raises(OpError, match=r"'outside' declares no shape rule.*infer="):
        gd.compile(outside)(Y)
