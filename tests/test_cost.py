"""Counted costs: by hand, and those of derivatives against the derivative graphs themselves."""

import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.costs.derivatives import Counted
from graphdiff.costs.node import node_cost
from graphdiff.costs.rules import Rules
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


def backward_graph(output, leaves):
    """Return the seed, and the adjoints of the leaves as graph."""
    order = topological_order([output])
    seed = placeholder(output.shape, output.dtype)
    found = {output: seed}
    pull_back(order, found, GRAPH, below(order, leaves), boundary=frozenset(leaves))
    return seed, [found[leaf] for leaf in leaves]


def forward_graph(output, leaves):
    """Return a seed per leaf, and the tangent of the output as graph."""
    found = {leaf: placeholder(leaf.shape, leaf.dtype) for leaf in leaves}
    seeds = list(found.values())
    push_forward(topological_order([output]), found, GRAPH)
    return seeds, found[output]


def run_and_measure(given, results):
    """Run a graph node by node, letting go of each value after its last use, and return the most bytes alive.

    Parameters
    ----------
    given : dict of Tensor to array
    results : list of Tensor
    """
    nodes = topological_order(results, boundary=frozenset(given))
    last = {operand: node for node in nodes for operand in (*node.inputs, node)}
    values = dict(given)
    live = most = sum(value.nbytes for value in given.values())
    for node in nodes:
        if node in given or node.op is None:
            continue
        operands = [each.value if each.op is None and each not in given else values[each] for each in node.inputs]
        values[node] = node.op.kernel(node.backend)(*operands, **node.attributes)
        live += values[node].nbytes
        most = max(most, live)
        for operand in {*node.inputs, node} - {*given, *results}:
            if operand.op is not None and last[operand] is node:
                live -= values.pop(operand).nbytes
    return most


@pytest.mark.parametrize("name", SCALAR)
def test_memory_of_reverse_is_predicted_exactly(name):
    leaves = [gd.variable(0.7), gd.variable(0.4)]
    output = SCALAR[name](*leaves)
    seed, adjoints = backward_graph(output, leaves)
    given = {leaf: leaf.value for leaf in leaves} | {seed: np.float64(1)}
    assert gd.Graph(output, leaves).cost("reverse").peak_memory == run_and_measure(given, [output, *adjoints])


@pytest.mark.parametrize("name", SCALAR)
def test_memory_of_forward_is_predicted_exactly(name):
    leaves = [gd.variable(0.7), gd.variable(0.4)]
    output = SCALAR[name](*leaves)
    seeds, tangent = forward_graph(output, leaves)
    given = {leaf: leaf.value for leaf in leaves} | dict.fromkeys(seeds, np.float64(1))
    assert gd.Graph(output, leaves).cost("forward").peak_memory == run_and_measure(given, [output, tangent])


def test_memory_of_array_derivatives_is_what_is_allocated():
    x = np.linspace(0, 1, 40_000)
    leaf = gd.variable(x)
    output = gd.tanh(leaf) * gd.exp(leaf) + gd.sin(leaf)
    seed, adjoints = backward_graph(output, [leaf])
    given = {leaf: x, seed: np.ones_like(x)}
    tracemalloc.start()
    run_and_measure(given, [output, *adjoints])
    _, allocated = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counted = gd.Graph(output, [leaf]).cost("reverse").peak_memory
    assert counted - 2 * x.nbytes == pytest.approx(allocated, rel=0.02)


def test_memory_of_batches_by_hand():
    """f(x) = exp(x) ⊙ w: x, f(x), seeds and two products per direction; the last of reverse mode reads exp(x)."""
    w = np.arange(1.0, 11.0)
    f = lambda x: gd.exp(x) * w  # noqa: E731
    row = 80
    expected = row + row + 3 * 10 * row
    assert gd.cost(f, w, mode="batched forward").peak_memory == expected
    assert gd.cost(f, w, mode="batched reverse").peak_memory == expected + row


@pytest.mark.parametrize("name", SCALAR)
def test_reverse_is_predicted_exactly(name):
    leaves = [gd.variable(0.7), gd.variable(0.4)]
    output = SCALAR[name](*leaves)
    order = topological_order([output])
    seed, adjoints = backward_graph(output, leaves)
    built = topological_order(adjoints, boundary=frozenset({*order, seed}))
    actual = spent(node for node in built if node not in set(order))
    each, once = Counted([output], leaves).reverse([output])
    assert as_counter(each + once) == actual


@pytest.mark.parametrize("name", SCALAR)
def test_forward_is_predicted_exactly(name):
    leaves = [gd.variable(0.7), gd.variable(0.4)]
    output = SCALAR[name](*leaves)
    order = topological_order([output])
    seeds, tangent = forward_graph(output, leaves)
    built = topological_order([tangent], boundary=frozenset({*order, *seeds}))
    actual = spent(node for node in built if node not in set(order))
    each, once = Counted([output], leaves).forward()
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


def test_softmax_is_counted_by_what_it_is_written_in():
    """Largest, difference, exponential, sum and quotient: five calls, 4 n - 1 operations."""
    cost = gd.cost(gd.softmax, np.ones(10))
    assert (cost.calls, cost.multiplications, cost.additions, cost.transcendental) == (5, 10, 19, 10)


def test_a_custom_op_is_counted_by_its_evaluation():
    name = "cubed_for_costs"
    cubed = gd.op.custom(
        name,
        tangent=lambda F, tangents, out, x: 3 * x * x * tangents[0],
        adjoint=lambda F, cotangent, position, out, x: 3 * x * x * cotangent,
        evaluate=lambda F, x: x * x * x,
        infer=lambda x: (x.shape, x.dtype),
    )
    assert gd.cost(cubed, np.ones(10)).multiplications == 20


def test_functions_around_lapack_cost_several_calls():
    assert gd.cost(gd.linalg.inv, np.eye(3)).calls == 8


def test_rows_that_are_broadcast_along_are_counted():
    row, matrix = np.ones(10), np.ones((200, 10))
    assert gd.cost(lambda x: x * row, matrix).turns == 200
    assert gd.cost(lambda x: x * 2.0, matrix).turns == 0
    assert gd.cost(lambda x: x * matrix, matrix).turns == 0
    assert gd.cost(lambda x: gd.sum(x, axis=1), matrix).turns == 200
    assert gd.cost(gd.sum, matrix).turns == 0


def test_a_pass_enters_a_compiled_function_once():
    modes = ("value", "forward", "batched forward", "reverse", "batched reverse", "finite differences")
    found = [gd.cost(lambda x: gd.stack([x[0] * x[1], x[2]]), X, mode=mode).runs for mode in modes]
    assert found == [1, 3, 1, 2, 1, 4]


def recurrence(x: Any) -> Any:
    """Return a recurrence in which every step has a constant matrix, a number and an index of its own."""
    h = gd.zeros(3)
    for place in range(x.shape[0]):
        h = gd.tanh(gd.constant(np.eye(3) * place) @ h + x[place] * (1.0 + place % 2))
    return h


def test_rules_are_looked_into_once_for_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    afresh = Rules._rule_afresh

    def counted(self: Any, node: Any, kind: str, position: int) -> Any:
        looked.append(node.op.name)
        return afresh(self, node, kind, position)

    monkeypatch.setattr(Rules, "_rule_afresh", counted)
    found: dict[int, int] = {}
    for steps in (10, 20, 200):
        looked.clear()
        cost = gd.cost(recurrence, np.ones((steps, 3)), mode="batched reverse")
        assert cost.transcendental == 3 * steps
        found[steps] = len(looked)
    assert found[10] == found[20] == found[200] < 20
    assert gd.cost(recurrence, np.ones((200, 3))).multiplications == 200 * (9 + 3) - 9


def test_an_exponent_is_part_of_the_cost() -> None:
    one, both = (gd.cost(f, 3.0, mode="reverse") for f in (lambda x: x**3.5, lambda x: x**3.5 + x**2.0))
    square = gd.cost(lambda x: x**2.0, 3.0, mode="reverse")
    assert both.transcendental == one.transcendental + square.transcendental
    assert square.transcendental != one.transcendental
