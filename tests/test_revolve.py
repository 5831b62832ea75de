"""Binomial checkpointing: the published formula against dynamic programming, and chains that keep to it."""

from functools import cache
from math import comb

import numpy as np
import pytest

import graphdiff as gd
from graphdiff.differentiate.revolve import longest_chain, recomputed_steps, repetitions


@cache
def fewest(length: int, snapshots: int) -> int:
    """Return the fewest steps computed again, over all places for the next snapshot."""
    if length == 1:
        return 0
    if snapshots == 1:
        return length * (length - 1) // 2
    return min(k + fewest(length - k, snapshots - 1) + fewest(k, snapshots) for k in range(1, length))


def test_the_formula_is_the_optimum():
    for length in range(1, 70):
        for snapshots in range(1, 12):
            assert recomputed_steps(length, snapshots) == fewest(length, snapshots)


def test_repetitions_are_the_least_that_suffice():
    """A chain of l steps needs r repetitions with s snapshots where l ≤ C(s + r, s)."""
    for snapshots in range(1, 8):
        for often in range(1, 8):
            longest = comb(snapshots + often, snapshots)
            assert longest_chain(snapshots, often) == longest
            assert repetitions(longest, snapshots) == often
            assert repetitions(longest + 1, snapshots) == often + 1


class Counted:
    """A step that counts how often it is computed."""

    def __init__(self) -> None:
        self.calls = 0
        self.weight = gd.variable(1.1)

    def __call__(self, state):
        self.calls += 1
        return gd.tanh(state * self.weight)


@pytest.mark.parametrize("length", [1, 2, 7, 24])
@pytest.mark.parametrize("snapshots", [1, 2, 3, 24])
def test_a_chain_computes_as_many_steps_again_as_it_must(length, snapshots):
    step = Counted()
    x = gd.variable([0.3, -0.2])
    total = gd.sum(gd.checkpoint_chain([step] * length, snapshots)(x))
    assert step.calls == length
    total.backward()
    assert step.calls == length + recomputed_steps(length, snapshots)
    gradients = x.grad, step.weight.grad
    plain = x
    for _ in range(length):
        plain = gd.tanh(plain * step.weight)
    gd.sum(plain).backward()
    np.testing.assert_allclose(gradients[0], x.grad, rtol=1e-14)
    np.testing.assert_allclose(gradients[1], step.weight.grad, rtol=1e-13)


def test_fewer_snapshots_take_less_memory_when_compiled():
    matrix = gd.constant(np.full((64, 64), 0.01))

    def step(state):
        return gd.tanh(gd.sin(state @ matrix))

    def plan(snapshots):
        whole = gd.checkpoint_chain([step] * 24, snapshots)
        compiled = gd.compile(gd.grad(lambda x: gd.sum(whole(x))))
        compiled(np.ones((64, 64)))
        return compiled.plans[0].cost

    costs = [plan(snapshots) for snapshots in (2, 4, 24)]
    memory = [cost.peak_memory for cost in costs]
    assert memory[0] < memory[1] < memory[2]
    assert costs[0].flops > costs[1].flops > costs[2].flops


@pytest.mark.parametrize(("steps", "snapshots"), [([], 3), ([gd.sin], 0)])
def test_wrong_input(steps, snapshots):
    with pytest.raises(gd.errors.GraphError, match="at least one step and one snapshot"):
        gd.checkpoint_chain(steps, snapshots)
