"""A chain of a million nodes goes through every walk, at Python's default recursion limit."""

import copy
import gc
import math
import pickle
import sys
import weakref

import numpy as np
import pytest

import graphdiff as gd

ROUNDS = 333_333
SCALE, SHIFT = 1 + 1e-7, 1e-9  # near 1 and 0, so that the derivative does not underflow


@pytest.fixture(scope="module")
def chain():
    """Return the variable and the end of tanh(SCALE y + SHIFT), a third of a million times over."""
    assert sys.getrecursionlimit() <= 1_000
    x = gd.variable(0.5, name="x")
    y = x
    for _ in range(ROUNDS):
        y = gd.tanh(y * SCALE + SHIFT)
    return x, y


@pytest.fixture(scope="module")
def reference():
    """Return the chain's value and derivative from the recurrence."""
    value, derivative = np.float64(0.5), np.float64(1.0)
    for _ in range(ROUNDS):
        value = np.tanh(value * SCALE + SHIFT)
        derivative = derivative * (SCALE * (1 - value * value))
    return float(value), float(derivative)


def gradient(x, y):
    x.grad = None
    y.backward()
    return float(x.grad)


def test_value_and_gradient(chain, reference):
    x, y = chain
    assert y.item() == reference[0]
    assert math.isclose(gradient(x, y), reference[1], rel_tol=1e-9)


def test_graph_evaluates(chain, reference):
    _, y = chain
    graph = gd.Graph(y)
    assert len(graph) == 3 * ROUNDS + 3  # with the variable and the two numbers
    assert float(graph.evaluate()) == reference[0]
    assert len(graph.edges) == 5 * ROUNDS


def test_text(chain):
    _, y = chain
    for text in (repr(y), str(y), f"{y}", y.describe()):
        assert "tanh" in text
        assert len(text) < 200
    assert f"{y:.3f}" == f"{y.item():.3f}"


def test_pickle(chain, reference):
    x, y = chain
    data = pickle.dumps((x, y))
    x, y = pickle.loads(data)
    del data
    assert y.item() == reference[0]
    assert math.isclose(gradient(x, y), reference[1], rel_tol=1e-9)
    end = weakref.ref(y)
    del y
    assert end() is None


def test_deepcopy(chain, reference):
    x, y = copy.deepcopy(chain)
    assert x is not chain[0]
    chain[0].grad = None
    assert math.isclose(gradient(x, y), reference[1], rel_tol=1e-9)
    assert chain[0].grad is None


def test_graph_is_pickled_and_copied():
    y = x = gd.variable(0.5)
    for _ in range(10_000):
        y = gd.tanh(y * x)
    graph = gd.Graph(y)
    for other in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert len(other) == len(graph)
        assert other.evaluate() == graph.evaluate()
    nodes = pickle.loads(pickle.dumps(graph.nodes))
    assert nodes[-1].item() == y.item()


def test_freed_at_once_without_the_collector():
    x = gd.variable(0.5)
    y = gd.tanh(x)
    first = weakref.ref(y)
    for _ in range(ROUNDS):
        y = gd.tanh(y * SCALE + SHIFT)
    last = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert last() is None
        assert first() is None
    finally:
        gc.enable()


def test_tangents(chain, reference):
    x, y = chain
    tangent = gd.tangents(y, {x: 1.0})
    assert len(tangent) == 3 * ROUNDS + 1
    assert math.isclose(tangent[y].item(), reference[1], rel_tol=1e-9)
