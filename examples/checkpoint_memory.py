"""Memory against recomputation: the gradient through a deep chain, with equal parts and with binomial checkpoints."""

from collections.abc import Callable
from typing import Any

import numpy as np

import graphdiff as gd
from graphdiff.differentiate.revolve import recomputed_steps

STEPS = 32
WIDTH = 32
MATRIX = gd.constant(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)) / 8)


LAYERS = 3


def step(state: Any) -> Any:
    """A step with six inner values: what it must hold for its own backward pass is more than its state."""
    for _ in range(LAYERS):
        state = gd.tanh(gd.sin(state @ MATRIX))
    return state


def in_parts(length: int) -> Callable[[Any], Any]:
    """The chain in parts of so many steps, each a checkpoint."""

    def part(state: Any, steps: int) -> Any:
        for _ in range(steps):
            state = step(state)
        return state

    def chain(state: Any) -> Any:
        for start in range(0, STEPS, length):
            state = gd.checkpoint(part)(state, min(length, STEPS - start))
        return state

    return chain


def plain(state: Any) -> Any:
    for _ in range(STEPS):
        state = step(state)
    return state


def measured(chain: Callable[[Any], Any]) -> tuple[float, int]:
    """Return the peak memory of the compiled gradient in states, and how many steps it computes again."""
    compiled = gd.compile(gd.grad(lambda x: gd.sum(chain(x))))
    compiled(np.full((WIDTH, WIDTH), 0.1))
    plan = compiled.plans[0]
    computed = sum(instruction.op == "tanh" for instruction in plan.instructions)
    return plan.cost.peak_memory / (8 * WIDTH * WIDTH), computed // LAYERS - STEPS


PARTS = (1, 2, 4, 8, 16)
SNAPSHOTS = (2, 3, 4, 6, 8, 12, 16)

if __name__ == "__main__":
    print(f"{STEPS} steps{'':18}peak memory, states{'':4}steps computed again")
    print(f"{'everything kept':26}{measured(plain)[0]:18.0f}{measured(plain)[1]:26}")
    for length in PARTS:
        memory, again = measured(in_parts(length))
        print(f"{f'parts of {length}':26}{memory:18.0f}{again:26}")
    for snapshots in SNAPSHOTS:
        memory, again = measured(gd.checkpoint_chain([step] * STEPS, snapshots))
        best = recomputed_steps(STEPS, snapshots)
        print(f"{f'{snapshots} binomial snapshots':26}{memory:18.0f}{again:26}   (by the formula {best})")
