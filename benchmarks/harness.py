"""Timing of several contenders in turns, so that whatever slows the machine for a while slows all of them alike."""

import gc
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter

from rich.console import Console
from rich.progress import Progress


class DisagreementError(RuntimeError):
    """The contenders do not compute the same thing, so their times must not be compared."""


@dataclass(frozen=True)
class Timing:
    """Seconds per call of one contender, one sample per round."""

    samples: list[float]

    @property
    def median(self) -> float:
        """Median over the rounds, in seconds per call."""
        return median(self.samples)

    @property
    def minimum(self) -> float:
        """Quickest round, in seconds per call."""
        return min(self.samples)

    @property
    def spread(self) -> float:
        """Distance between the quartiles as a fraction of the median."""
        lower, _, upper = quantiles(self.samples, n=4)
        return (upper - lower) / self.median

    def ratio(self, baseline: "Timing") -> float:
        """This median divided by that of `baseline`: below 1, this one is quicker."""
        return self.median / baseline.median


def time_block(call: Callable[[], object], calls: int, *, collector: bool = False) -> float:
    """Time a number of calls in a row.

    Parameters
    ----------
    call : callable
        What to time.
    calls : int
        How often.
    collector : bool
        Whether Python's garbage collector may run meanwhile.

    Returns
    -------
    float
        Seconds for the whole block.
    """
    gc.collect()
    if not collector:
        gc.disable()
    try:
        start = perf_counter()
        for _ in range(calls):
            call()
        return perf_counter() - start
    finally:
        gc.enable()


def calls_per_block(call: Callable[[], object], seconds: float) -> int:
    """How many calls fill a block of `seconds`: at least one."""
    calls = 1
    while (taken := time_block(call, calls)) < seconds / 4:
        calls *= 2
    return max(1, round(calls * seconds / taken))


def alternate(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    block: float,
    collector: bool = False,
    title: str = "measuring",
) -> dict[str, Timing]:
    """Time contenders in turns: in every round each runs one block of calls, in an order drawn anew.

    Parameters
    ----------
    contenders : mapping of str to callable
        What to time, by name. Each must already have been called once, so that nothing is left to compile.
    rounds : int
        Samples per contender, at least two.
    block : float
        Seconds that a block should last. One call before each block, untimed, brings the contender's data back into
        the cache.
    collector : bool
        Whether Python's garbage collector may run inside a block.
    title : str
        Label of the progress bar.

    Returns
    -------
    dict of str to Timing
    """
    calls = {name: calls_per_block(call, block) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    shuffle = random.Random(0).shuffle
    gc.collect()
    gc.freeze()  # what exists by now is left out of the collections between blocks
    try:
        with Progress(transient=True, disable=not Console().is_terminal) as progress:
            for _ in progress.track(range(rounds), description=title):
                order = list(contenders)
                shuffle(order)
                for name in order:
                    contenders[name]()
                    samples[name].append(time_block(contenders[name], calls[name], collector=collector) / calls[name])
    finally:
        gc.unfreeze()
    return {name: Timing(values) for name, values in samples.items()}
