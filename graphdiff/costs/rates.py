"""What a call, an operation and a byte cost on this machine: what turns counts into estimated seconds.

Built-in rates are those of one core of a recent server; `calibrate` measures this machine's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from graphdiff.backend import current_backend
from graphdiff.op import GRAPH, OPS

__all__ = ["BUILT_IN", "Rates", "calibrate", "current", "use"]


@dataclass(frozen=True)
class Rates:
    """Seconds per unit of counted cost, compiled, on one core.

    Attributes
    ----------
    call : float
        Per op that runs over an array, however small.
    number : float
        Per operation on single numbers.
    view : float
        Per op that only looks at an array differently.
    product : float
        Per floating-point operation of a matrix product.
    function : float
        Per root, power or elementary function of one element.
    byte : float
        Per byte read or written.
    turn : float
        Per beginning of an inner loop within a call, as for every row where a vector is broadcast along a matrix.
    run : float
        Per entering of a compiled function, to look at its arguments and to wrap up its results.
    source : str
        Where the rates come from.
    """

    call: float
    number: float
    view: float
    product: float
    function: float
    byte: float
    turn: float = 0.0
    run: float = 0.0
    source: str = "built in"


BUILT_IN = Rates(
    call=5e-7, number=6e-8, view=4e-8, product=1.15e-11, function=1.1e-9, byte=1.25e-11, turn=1.2e-8, run=1.3e-6
)
"""Measured on an AMD EPYC with AVX-512, one thread, NumPy 2.4 with OpenBLAS 0.3.31."""

IN_A_PLAN = 0.5
"""What a call costs in a plan, where memory and checks are done beforehand, in terms of a call of a kernel."""

_current = [BUILT_IN]


def current() -> Rates:
    """Return the rates that estimates are made with."""
    return _current[0]


def use(rates: Rates) -> Rates:
    """Make estimates with other rates from now on; return those used before."""
    before, _current[0] = _current[0], rates
    return before


def _quickest(run: Callable[[], object], calls: int, repeats: int = 15) -> float:
    """Return the least seconds per call: what is slower was interrupted."""
    least = float("inf")
    for _ in range(repeats):
        began = perf_counter()
        for _ in range(calls):
            run()
        least = min(least, (perf_counter() - began) / calls)
    return least


def calibrate() -> Rates:
    """Measure the current backend's kernels, make estimates with what they take from now on, and return it.

    It takes about a tenth of a second. What has no kernel of its own (numbers, views, turns, runs) keeps its built-in
    share of a call.

    Examples
    --------
    >>> import graphdiff as gd
    >>> before = gd.rates.current()
    >>> gd.rates.calibrate().call < 1e-4
    True
    >>> gd.rates.use(before).source
    'measured on this machine'
    """
    backend = current_backend()

    def timed(name: str, calls: int, *shapes: tuple[int, ...]) -> float:
        kernel = OPS[name].kernel(backend)
        arrays = [GRAPH.full(shape, 0.5).value for shape in shapes]

        def run() -> None:
            kernel(*arrays)
            backend.synchronize()

        run()
        return _quickest(run, calls)

    many, size = 1 << 16, 96
    eager = timed("multiply", 200, (8,), (8,))
    byte = max(1e-13, (timed("multiply", 4, (many,), (many,)) - eager) / (3 * 8 * many))
    function = max(1e-12, (timed("tanh", 4, (many,)) - eager) / many - 16 * byte)
    product = max(1e-14, (timed("matmul", 20, (size, size), (size, size)) - eager) / (2 * size**3) - 12 * byte / size)
    call = IN_A_PLAN * eager
    share = call / BUILT_IN.call
    rates = Rates(
        call,
        BUILT_IN.number * share,
        BUILT_IN.view * share,
        product,
        function,
        byte,
        BUILT_IN.turn * share,
        BUILT_IN.run * share,
        "measured on this machine",
    )
    use(rates)
    return rates


def __dir__() -> list[str]:
    return sorted(__all__)
