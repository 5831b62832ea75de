"""Binomial checkpointing: a long chain reversed from few snapshots with the fewest evaluations.

A. Griewank and A. Walther, Algorithm 799: Revolve, ACM TOMS 26, 2000.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb

from graphdiff.arguments import listed, require_function, whole
from graphdiff.differentiate.checkpoint import checkpoint
from graphdiff.errors import GraphError
from graphdiff.guard import guarded
from graphdiff.tensor import Tensor
from graphdiff.typing import ArrayLike, Function

__all__ = ["checkpoint_chain", "longest_chain", "recomputed_steps", "repetitions"]


def longest_chain(snapshots: int, repetitions: int) -> int:
    """Return how many steps can be reversed from so many snapshots if none is computed again more often than that.

    Parameters
    ----------
    snapshots : int
        States held at a time, the first one included.
    repetitions : int

    Returns
    -------
    int
        The binomial coefficient (snapshots + repetitions) over snapshots (Griewank and Walther 2000, equation 1).

    Examples
    --------
    >>> longest_chain(10, 3)
    286
    """
    return comb(snapshots + repetitions, snapshots)


def repetitions(length: int, snapshots: int) -> int:
    """Return how often a step is computed again at most, in the best schedule.

    Raises
    ------
    GraphError
        The length or the number of snapshots is below 1.
    """
    if length < 1 or snapshots < 1:
        raise GraphError(f"a chain has at least one step and one snapshot, not {length} and {snapshots}")
    often = 0
    while longest_chain(snapshots, often) < length:
        often += 1
    return often


def recomputed_steps(length: int, snapshots: int) -> int:
    """Return how many steps are computed again in reversing a chain, in the best schedule.

    Parameters
    ----------
    length : int
        Steps.
    snapshots : int
        States held at a time, the first one included.

    Returns
    -------
    int
        r·length - C(snapshots + r, r - 1), where r is `repetitions` (Griewank and Walther 2000, proposition 1).

    Examples
    --------
    >>> recomputed_steps(100, 1), recomputed_steps(100, 10), recomputed_steps(100, 100)
    (4950, 222, 99)
    """
    often = repetitions(length, snapshots)
    return often * length - comb(snapshots + often, often - 1) if often else 0


@lru_cache(maxsize=10_000)
def first_part(length: int, snapshots: int) -> int:
    """Return after how many steps the best schedule takes its next snapshot."""
    if snapshots == 1:
        return length - 1

    def recomputed(part: int) -> int:
        return part + recomputed_steps(length - part, snapshots - 1) + recomputed_steps(part, snapshots)

    return min(range(1, length), key=recomputed)


@guarded
def checkpoint_chain(steps: Sequence[Function[Tensor]], snapshots: int) -> Function[Tensor]:
    """Return the composition of steps, whose backward pass holds few states and computes the others again.

    Parameters
    ----------
    steps : sequence of callable
        Each takes the state, one Tensor or array, that the one before returned, and may refer to variables.
    snapshots : int
        States held at a time, the first one included; besides, the inner values of one step are. With one snapshot the
        number of steps computed again is quadratic, with as many as steps each but the last is computed again once.

    Returns
    -------
    callable

    Raises
    ------
    GraphError
        There is no step, or `snapshots` is below 1.

    Notes
    -----
    The best schedule by `recomputed_steps`: a snapshot divides the chain, the second part is reversed with one snapshot
    less, then the first with all. It is built of nested `checkpoint` calls.

    Examples
    --------
    >>> import graphdiff as gd
    >>> x = gd.variable(0.5)
    >>> y = gd.checkpoint_chain([gd.sin] * 20, snapshots=3)(x)
    >>> y.backward()
    >>> abs(x.grad - gd.grad(lambda t: gd.checkpoint_chain([gd.sin] * 20, 20)(t))(0.5).item()) < 1e-15
    np.True_
    """
    steps, snapshots = tuple(listed(steps, "checkpoint_chain")), whole(snapshots, "checkpoint_chain: snapshots")
    for step in steps:
        require_function(step, "checkpoint_chain")
    if repetitions(len(steps), snapshots) == 0:
        return steps[0]

    def chain(state: ArrayLike) -> Tensor:
        rest, held = steps, snapshots
        while len(rest) > 1:
            part = first_part(len(rest), held)
            state = checkpoint(checkpoint_chain(rest[:part], held))(state)
            rest, held = rest[part:], max(1, held - 1)
        return rest[0](state)

    return chain
