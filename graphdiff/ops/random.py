"""Random numbers from an explicit seed: the same seed gives the same numbers, today and tomorrow.

In a compiled function an integer seed gives the same numbers at every call, as it does eagerly; a stream, from
`generator`, gives new ones.
"""

from __future__ import annotations

from typing import Any

from graphdiff import host
from graphdiff.arguments import lengths, whole
from graphdiff.backend import current_backend
from graphdiff.errors import CompileError, GraphDiffError
from graphdiff.guard import guarded
from graphdiff.op import FUNCTIONS, Applied, linear
from graphdiff.ops.create import Lengths
from graphdiff.tensor import Tensor, constant, current_trace, numbered_streams, seed_streams
from graphdiff.typing import Array, DTypeLike, Namespace

__all__ = ["bernoulli", "generator", "normal", "permutation", "seed", "uniform"]

Seed = Any
"""A non-negative integer, or what `generator` returned."""


def _require_integer(seed: Any) -> int:
    if not host.is_integer(seed) or seed < 0:
        raise GraphDiffError(f"a seed is a non-negative integer or a gd.random.generator(seed), not {seed!r}")
    return int(seed)


def _generator(seed: Seed) -> Any:
    return seed if host.is_random_generator(seed) else host.random_generator(_require_integer(seed))


@guarded
def generator(seed: Seed | None = None) -> Any:
    """Return a stream of random numbers, to give as `seed` to several calls that must differ.

    Without a seed every call returns another stream; which ones, is the same in every run of a program, and `seed`
    begins them anew. Layers that are given no seed take theirs so.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.random.seed(1)
    >>> one, two = gd.nn.Linear(3, in_features=3), gd.nn.Linear(3, in_features=3)
    >>> bool(gd.all(one.weight == two.weight))
    False
    >>> gd.random.seed(1)
    >>> bool(gd.all(one.weight == gd.nn.Linear(3, in_features=3).weight))
    True
    """
    trace = current_trace()
    if seed is None:
        if trace is not None:
            trace.make("a random stream without a seed")
        return host.random_generator(numbered_streams().next())
    made = _generator(seed)
    if trace is not None and made is not seed:
        trace.make_stream(made)
    return made


@guarded
def seed(number: int = 0) -> None:
    """Begin anew with the streams that are made without a seed, such as those of layers that are given none.

    These are a context's own, that of the thread or asyncio task which calls this: trainings in two threads that each
    begin with ``gd.random.seed(1)`` give what they give one after the other. A thread that does not call it has
    streams that differ from every other thread's; a task that does not shares its maker's.

    Parameters
    ----------
    number : int
        Another number gives other streams; a program that does not call this has those of 0.

    Examples
    --------
    >>> import graphdiff as gd
    >>> gd.random.seed(3)
    >>> first = gd.nn.Linear(2, in_features=2).weight.tolist()
    >>> gd.random.seed(3)
    >>> gd.nn.Linear(2, in_features=2).weight.tolist() == first
    True
    """
    if current_trace():
        raise CompileError("gd.random.seed cannot be compiled: call it before the compiled function")
    seed_streams(_require_integer(number))


def _draw_evaluate(
    F: Namespace,
    *,
    generator: host.Generator,
    method: str,
    options: tuple[float, ...],
    shape: host.Shape,
    dtype: host.DType,
) -> Array:
    drawn = getattr(generator, method)(*options, shape)
    return F.backend.from_host(drawn, dtype)


random_draw: Applied = linear(
    "random_draw",
    evaluate=_draw_evaluate,
    infer=lambda **attributes: (attributes["shape"], attributes["dtype"]),
    symbol="random",
    work="move",
    pure=False,
    doc="Numbers drawn from a stream each time a plan runs.",
    internal=True,
)


def _drawn(seed: Seed, method: str, options: tuple[Any, ...], shape: host.Shape, dtype: DTypeLike) -> Tensor:
    """Draw now; or, while a function is traced and the stream is given, whenever its plan runs."""
    trace = current_trace()
    own = None if trace is None else trace.own_stream(seed)
    if trace is not None and own is None and host.is_random_generator(seed):
        kind_of = host.dtype(dtype)
        attributes = {"generator": seed, "method": method, "options": options, "shape": shape, "dtype": kind_of}
        drawn = Tensor(random_draw.op, (), attributes, None, current_backend(), True, (shape, kind_of))
        trace.draws.append(drawn)
        return drawn
    return constant(getattr(_generator(seed if own is None else own), method)(*options, shape), dtype=dtype)


@guarded
def normal(
    shape: Lengths = (), *, seed: Seed, mean: float = 0.0, std: float = 1.0, dtype: DTypeLike = "float64"
) -> Tensor:
    """Draw from the normal distribution.

    Examples
    --------
    >>> import graphdiff as gd
    >>> bool(gd.all(gd.random.normal(3, seed=1) == gd.random.normal(3, seed=1)))
    True
    """
    return _drawn(seed, "normal", (mean, std), lengths(shape, "random numbers"), dtype)


@guarded
def uniform(
    shape: Lengths = (), *, seed: Seed, low: float = 0.0, high: float = 1.0, dtype: DTypeLike = "float64"
) -> Tensor:
    """Draw from the uniform distribution on [low, high)."""
    return _drawn(seed, "uniform", (low, high), lengths(shape, "random numbers"), dtype)


@guarded
def bernoulli(shape: Lengths = (), *, seed: Seed, p: float = 0.5, dtype: DTypeLike = "bool") -> Tensor:
    """Draw True with probability p."""
    if not 0 <= p <= 1:
        raise GraphDiffError(f"a probability lies in [0, 1], and p is {p}")
    return (_drawn(seed, "uniform", (0.0, 1.0), lengths(shape, "random numbers"), "float64") < p).astype(dtype)


@guarded
def permutation(count: int, *, seed: Seed) -> Tensor:
    """Return 0 … count - 1 in random order."""
    shape = (whole(count, "permutation: the count", 0),)
    return FUNCTIONS["argsort"](_drawn(seed, "uniform", (0.0, 1.0), shape, "float64"))


def __dir__() -> list[str]:
    return sorted(__all__)
