"""The walks down a graph."""

from __future__ import annotations

import numpy as np

import graphdiff as gd
from graphdiff.graph import evaluated, inside, opened, reachable, run_kernel, topological_order
from graphdiff.op import Composite


def test_reachable_has_constants_and_stops_at_the_boundary() -> None:
    x, c = gd.variable(2.0), gd.constant(3.0)
    inner = x * c
    output = inner + 1.0
    assert {x, c, inner, output} < set(reachable([output]))
    assert topological_order([output]) == [x, inner, output]
    below = reachable([output], frozenset([inner]))
    assert inner in below
    assert x not in below
    assert [node.serial for node in below] == sorted(node.serial for node in below)


def test_opened_replaces_composites_at_any_depth() -> None:
    gd.op.composite("walks_pair", lambda F, x: F.sin(x) + F.cos(x))
    whole = gd.op.composite("walks_whole", lambda F, x: F.walks_pair(x) * x)
    x = gd.variable(0.5)
    node = whole(x)
    output = gd.exp(node)
    made, below = inside(node)
    assert below[0] is x
    assert below[-1] is made
    found, stands = opened(topological_order([output]))
    assert [each.op.name for each in found if each.op] == ["sin", "cos", "add", "multiply", "exp"]
    assert stands[node].op is gd.multiply.op
    closed, stands = opened(topological_order([output]), frozenset([node]))
    assert isinstance(closed[1].op, Composite)
    assert not stands


def test_evaluated_takes_other_values_for_leaves_and_inner_nodes() -> None:
    x, y = gd.variable(2.0), gd.variable(3.0)
    inner = x * y
    output = inner + y
    order = reachable([output])
    found = evaluated(order, {x: np.float64(5.0)}, lambda leaf: leaf.value, run_kernel)
    assert float(found[output]) == 18.0
    found = evaluated(order, {inner: np.float64(1.0)}, lambda leaf: leaf.value, run_kernel)
    assert float(found[output]) == 4.0
