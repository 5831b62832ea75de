"""Random numbers from an explicit seed: the same seed gives the same numbers, today and tomorrow."""

from __future__ import annotations

from typing import Any

from graphdiff import host
from graphdiff.errors import GraphDiffError
from graphdiff.ops.create import Lengths, _lengths
from graphdiff.tensor import Tensor, constant

Seed = Any
"""A non-negative integer, or what `generator` returned."""


def _generator(seed: Seed) -> Any:
    if host.is_random_generator(seed):
        return seed
    if not host.is_integer(seed) or seed < 0:
        raise GraphDiffError(f"a seed is a non-negative integer or a gd.random.generator(seed), not {seed!r}")
    return host.random_generator(int(seed))


def generator(seed: int) -> Any:
    """Return a stream of random numbers, to give as `seed` to several calls that must differ."""
    return _generator(seed)


def normal(shape: Lengths = (), *, seed: Seed, mean: float = 0.0, std: float = 1.0, dtype: Any = "float64") -> Tensor:
    """Draw from the normal distribution.

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.all(gd.random.normal(3, seed=1) == gd.random.normal(3, seed=1)))
    True
    """
    return constant(mean + std * _generator(seed).standard_normal(_lengths(shape)), dtype=dtype)


def uniform(shape: Lengths = (), *, seed: Seed, low: float = 0.0, high: float = 1.0, dtype: Any = "float64") -> Tensor:
    """Draw from the uniform distribution on [low, high)."""
    return constant(_generator(seed).uniform(low, high, _lengths(shape)), dtype=dtype)


def bernoulli(shape: Lengths = (), *, seed: Seed, p: float = 0.5, dtype: Any = "bool") -> Tensor:
    """Draw True with probability p."""
    if not 0 <= p <= 1:
        raise GraphDiffError(f"a probability lies in [0, 1], and p is {p}")
    return constant(_generator(seed).random(_lengths(shape)) < p, dtype=dtype)


def permutation(count: int, *, seed: Seed) -> Tensor:
    """Return 0 … count - 1 in random order."""
    return constant(_generator(seed).permutation(count))
