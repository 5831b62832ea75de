"""Jacobians by elimination agree with reverse mode, in every order."""

import random
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.elimination.orders import EliminationOrder

X = np.array([0.4, -1.3, 0.7])
W = np.array([[0.2, -0.5, 1.0], [0.3, 0.8, -0.6]])


def arm(t: Any) -> Any:
    c, s = [gd.cos(t[i]) for i in range(3)], [gd.sin(t[i]) for i in range(3)]
    a, b = c[0] * c[1] - s[0] * s[1], s[0] * c[1] + c[0] * s[1]
    return gd.stack([a * c[2] - b * s[2] + c[0], b * c[2] + a * s[2] + s[0], a / (2 + b), b])


BED: dict[str, Any] = {
    "square of a product": lambda x: gd.stack([x[0] * x[0], x[1] * x[1] * x[1]]),
    "quotient by itself": lambda x: gd.stack([x[0] / x[0], x[1] / (x[1] * x[2])]),
    "difference with itself": lambda x: x[0] - x[0] + gd.sin(x[1]),
    "asinh": lambda x: gd.asinh(x * 3),
    "arm": arm,
    "output in use": lambda x: (lambda y: gd.stack([y, gd.sin(y), y * x[1]]))(gd.exp(x[0])),
    "input as output": lambda x: gd.stack([x[0], x[0] * x[1], x[0]]),
    "constant output": lambda x: gd.stack([x[0], gd.constant(2.0)]),
    "matrix product": lambda x: gd.tanh(W @ gd.sin(x)),
    "vector times itself": lambda x: x @ x,
    "outer": lambda x: gd.reshape(x, (3, 1)) * x,
    "broadcast": lambda x: gd.sum(x * gd.reshape(x, (3, 1)), axis=0) / 2,
    "softmax": lambda x: gd.softmax(x),
    "softplus and power": lambda x: gd.softplus(x) ** 2.5,
    "norm": lambda x: gd.linalg.norm(x),
    "cumulative product": lambda x: gd.cumprod(x),
    "variance": lambda x: gd.var(x) + gd.mean(x),
    "where": lambda x: gd.where(x > 0, gd.exp(x), x * x),
    "maximum": lambda x: gd.max(x) + gd.maximum(x, 0.1),
    "flip and concatenate": lambda x: gd.concatenate([gd.flip(x), x[1:] * 2]),
    "solve": lambda x: gd.linalg.solve(gd.reshape(gd.concatenate([x, x[:1] * x[1:2]]), (2, 2)), x[:2]),
    "two outputs": lambda x: {"a": gd.sin(x[0]) * x[1], "b": (x * x, x[2])},
    "deep chain": lambda x: gd.sin(gd.exp(gd.cos(gd.tanh(gd.sin(x[0] * x[1]))))),
    "leads nowhere": lambda x: (gd.sin(x[0]), gd.exp(x[1]))[1],
}


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for each in tree for leaf in leaves(each)] if isinstance(tree, (list, tuple)) else [tree]


def agree(computed: Any, expected: Any) -> None:
    for one, other in zip(leaves(computed), leaves(expected), strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", BED)
def test_agrees_with_reverse(name):
    agree(gd.jacobian(BED[name], mode="elimination")(X), gd.jacobian(BED[name], mode="reverse")(X))


@pytest.mark.parametrize("name", BED)
def test_as_graph_and_of_second_order(name):
    """Inside another derivative the accumulated Jacobian is a graph, differentiated on."""

    def total(mode):
        return lambda x: sum(gd.sum(each * each) for each in leaves(gd.jacobian(BED[name], mode=mode)(x)))

    agree(gd.grad(total("elimination"))(X), gd.grad(total("reverse"))(X))


@pytest.mark.parametrize("name", ["arm", "matrix product", "softmax", "where", "outer"])
def test_compiled(name):
    compiled = gd.compile(gd.jacobian(BED[name], mode="elimination"))
    agree(compiled(X), gd.jacobian(BED[name], mode="reverse")(X))


@pytest.mark.parametrize("name", BED)
def test_any_order_will_do(name):
    x = gd.variable(X)
    outputs = leaves(BED[name](x))
    expected = gd.jacobian(BED[name], mode="reverse")(X)
    try:
        plain = gd.elimination_order(gd.Graph(outputs, [x]), "forward")
    except gd.errors.GraphError:
        return
    for seed in range(3):
        numbers = list(plain.numbers)
        random.Random(seed).shuffle(numbers)
        order = EliminationOrder(numbers, 0, 0, "any", False, numbers)
        agree(gd.jacobian(BED[name], mode=order)(X), expected)


def test_orders_from_the_functions_own_graph():
    x = gd.variable(X)
    for method in ("forward", "reverse", "markowitz", "search"):
        order = gd.elimination_order(gd.Graph(arm(x)), method, cache=False)
        agree(gd.jacobian(arm, mode=order)(X), gd.jacobian(arm, mode="reverse")(X))


def test_repeated_operands_by_hand():
    assert gd.jacobian(lambda x: x * x, mode="elimination")(3.0).item() == 6.0
    assert gd.jacobian(lambda x: x / x, mode="elimination")(3.0).item() == 0.0


def test_several_arguments_and_single_precision():
    f = lambda x, y: {"p": x["a"] * y, "q": gd.sum(x["b"]) / y}  # noqa: E731
    arguments = {"a": np.float32(2.0), "b": X.astype(np.float32)}, np.float32(3.0)
    one, other = (gd.jacobian(f, argnums=(0, 1), mode=mode)(*arguments) for mode in ("elimination", "reverse"))
    for key in "pq":
        for got, wanted in zip(leaves(list(one[key])), leaves(list(other[key])), strict=True):
            assert got.dtype == wanted.dtype == np.float32
            np.testing.assert_allclose(got.tolist(), wanted.tolist(), rtol=1e-6)


def test_a_branch_not_taken_contributes_nothing():
    f = lambda x: gd.where(x > 0, gd.sqrt(x), 0.0)  # noqa: E731
    assert gd.jacobian(f, mode="elimination")(0.0).item() == 0.0


def test_the_choice_is_made_for_every_branch_of_a_function():
    def branching(x, smooth):
        return gd.sqrt(x * 2.0) + 3.0 if smooth else gd.where(x > 0, gd.sqrt(x), 2.0)

    x = np.array([0.0, 1.0, 4.0, 9.0])
    derivative = gd.jacobian(branching)
    derivative(x + 1, True)
    assert str(derivative.explain(x, False)) == str(gd.jacobian(branching).explain(x, False))


def test_wrong_modes():
    with pytest.raises(gd.errors.GraphError, match="elimination"):
        gd.jacobian(arm, mode="sideways")
    with pytest.raises(gd.errors.GraphError, match="not list"):
        gd.jacobian(arm, mode=[1, 2])
    other = gd.elimination_order(gd.Graph(gd.sin(gd.exp(gd.variable(1.0)))))
    with pytest.raises(gd.errors.GraphError, match="not the ones"):
        gd.jacobian(arm, mode=other)(X)
    with pytest.raises(gd.errors.GraphError, match=r"3,600,000,000 entries: gd\.sparse_jacobian"):
        gd.jacobian(gd.sin, mode="elimination")(np.ones(60_000))
    with pytest.raises(gd.errors.GraphError, match="scalar graph exceeds"):
        gd.elimination_order(gd.Graph(gd.sin(gd.variable(np.ones(60_000)))))
