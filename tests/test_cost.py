"""Counted costs: by hand, and those of derivatives against the derivative graphs themselves."""

from collections import Counter

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.costs import _Counted, node_cost
from graphdiff.differentiate.forward import push_forward
from graphdiff.differentiate.reverse import below, pull_back
from graphdiff.graph import topological_order
from graphdiff.op import GRAPH
from graphdiff.tensor import placeholder

X = np.array([0.4, -1.3, 0.7])

SCALAR = {
    "product": lambda a, b: a * b,
    "repeated": lambda a, b: a * a / a + b * b,
    "functions": lambda a, b: gd.sin(a) * gd.exp(b) + gd.log(a * a + 1) / gd.tanh(b),
    "power": lambda a, b: (a * a + 2) ** 2.5 - b**3,
    "shared": lambda a, b: (lambda c: c * gd.sin(c) + c)(a * b + a),
    "signs": lambda a, b: -(a - b) + gd.abs(a) - 2 * b,
    "hypot": lambda a, b: gd.hypot(a, b) * gd.sigmoid(a),
    "array": lambda a, b: gd.sum(gd.stack([a, b]) * gd.constant(X[:2])) * a,
    "matmul": lambda a, b: gd.sum(gd.tanh(gd.constant(np.ones((4, 2))) @ gd.stack([a, b]))),
}


def spent(nodes):
    total = Counter()
    for node in nodes:
        cost = node_cost(node)
        for name in ("multiplications", "additions", "transcendental", "calls"):
            total[name] += getattr(cost, name)
    return +total


def as_counter(cost):
    return +Counter({name: getattr(cost, name) for name in ("multiplications", "additions", "transcendental", "calls")})


@pytest.mark.parametrize("name", SCALAR)
def test_reverse_is_predicted_exactly(name):
    leaves = [gd.variable(0.7), gd.variable(0.4)]
    output = SCALAR[name](*leaves)
    order = topological_order([output])
    seed = placeholder(output.shape, output.dtype)
    found = {output: seed}
    pull_back(order, found, GRAPH, below(order, leaves), boundary=frozenset(leaves))
    built = topological_order([found[leaf] for leaf in leaves], boundary=frozenset({*order, seed}))
    actual = spent(node for node in built if node not in set(order))
    each, once = _Counted([output], leaves).reverse([output])
    assert as_counter(each + once) == actual


@pytest.mark.parametrize("name", SCALAR)
def test_forward_is_predicted_exactly(name):
    leaves = [gd.variable(0.7), gd.variable(0.4)]
    output = SCALAR[name](*leaves)
    order = topological_order([output])
    found = {leaf: placeholder(leaf.shape, leaf.dtype) for leaf in leaves}
    seeds = frozenset(found.values())
    push_forward(order, found, GRAPH)
    built = topological_order([found[output]], boundary=frozenset({*order, *seeds}))
    actual = spent(node for node in built if node not in set(order))
    each, once = _Counted([output], leaves).forward()
    assert as_counter(each + once) == actual


def test_values_by_hand():
    cost = gd.cost(lambda x, w: gd.sum(gd.tanh(w @ x)), X, np.ones((2, 3)))
    assert (cost.multiplications, cost.additions, cost.transcendental) == (6, 4 + 1, 2)
    assert cost.flops == 13
    assert cost.nbytes == 8 * ((6 + 3 + 2) + 4 + 3)
    assert cost.stored == 16  # of what is computed, the backward pass reads the tanh alone
    assert cost.peak_memory == 8 * (9 + 2 + 2)


def test_passes_and_batches():
    f = lambda x: gd.stack([gd.sum(x * x), x[0] * x[1]])  # noqa: E731
    value, forward, wide = (gd.cost(f, X, mode=mode) for mode in ("value", "forward", "batched forward"))
    assert forward.flops > 3 * value.flops
    assert wide.calls < forward.calls
    assert gd.cost(f, X, mode="finite differences").flops >= 4 * value.flops
    assert gd.cost(f, X, mode="reverse").calls > gd.cost(f, X, mode="batched reverse").calls


def test_wide_functions_prefer_the_mode_of_fewer_passes():
    tall, flat = np.ones((200, 2)), np.ones((2, 200))
    for matrix, better, worse in ((tall, "forward", "reverse"), (flat, "reverse", "forward")):
        f = lambda x: gd.tanh(matrix @ x)  # noqa: B023, E731
        x = np.ones(matrix.shape[1])
        assert gd.cost(f, x, mode=better).flops < gd.cost(f, x, mode=worse).flops


def test_composites_and_graphs():
    x = gd.variable(X)
    assert gd.Graph(gd.prod(x)).cost().multiplications == 2
    assert gd.cost(gd.prod(x)) == gd.Graph(gd.prod(x)).cost() == gd.cost(gd.prod, X)
    assert gd.Graph(gd.prod(x)).cost("batched reverse").multiplications > 2
    with pytest.raises(gd.errors.GraphError, match="batched reverse"):
        gd.Graph(x * 2).cost("sideways")


def test_auto_takes_what_costs_least_and_says_so():
    tall, flat = np.ones((300, 2)), np.ones((2, 300))
    for matrix, mode in ((tall, "forward"), (flat, "reverse")):
        jacobian = gd.jacobian(lambda x: gd.tanh(gd.constant(matrix) @ gd.sin(x)))  # noqa: B023
        x = np.ones(matrix.shape[1])
        choice = jacobian.explain(x)
        other = {"forward": "reverse", "reverse": "forward"}[mode]
        assert choice.costs[mode].seconds < choice.costs[other].seconds
        assert f"{choice.mode} mode" in str(choice)
        assert choice.costs[choice.mode].seconds <= 1.06 * min(cost.seconds for cost in choice.costs.values())
        assert jacobian(x).shape == matrix.shape


def test_auto_counts_elimination_of_scalar_functions():
    def f(x):
        y = gd.sin(x[0] * x[1]) * gd.exp(x[2])
        return gd.stack([y * x[0], y / x[1]])

    choice = gd.jacobian(f).explain(X)
    assert set(choice.costs) == {"forward", "reverse", "elimination"}
    np.testing.assert_allclose(gd.jacobian(f)(X).tolist(), gd.jacobian(f, mode="reverse")(X).tolist(), rtol=1e-12)


def test_auto_inside_other_transforms():
    f = lambda x: gd.sin(x) * x[0]  # noqa: E731
    expected = gd.jacobian(f, mode="forward")(X).tolist()
    np.testing.assert_allclose(np.asarray(gd.compile(gd.jacobian(f))(X)), expected, rtol=1e-12)
    again = gd.jacobian(gd.jacobian(f))(X).tolist()
    np.testing.assert_allclose(again, gd.jacobian(gd.jacobian(f, mode="reverse"), mode="forward")(X).tolist())
