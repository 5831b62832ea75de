"""Live memory: what is alive while steps run one after the other, each value until its last use."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

__all__ = ["Step", "peak"]


@dataclass(frozen=True)
class Step:
    """One value that is computed.

    Attributes
    ----------
    made : hashable
        Stands for the value.
    nbytes : int
    read : iterable of hashable
        Stand for the values that it is computed from; those of which nothing is known are nobody's.
    """

    made: Hashable
    nbytes: int
    read: Iterable[Hashable]


def peak(given: Mapping[Hashable, int], steps: Sequence[Step], kept: Set[Hashable]) -> int:
    """Return the most bytes alive at once.

    Parameters
    ----------
    given : mapping to int
        Bytes of what is there before, and stays.
    steps : sequence of Step
    kept : set of hashable
        What stays once it is computed.

    Examples
    --------
    >>> peak({"x": 8}, [Step("y", 8, ["x"]), Step("z", 8, ["y"]), Step("w", 8, ["z"])], {"w"})
    24
    """
    last = {value: place for place, step in enumerate(steps) for value in (step.made, *step.read)}
    size = {step.made: step.nbytes for step in steps if step.made not in kept}
    live = most = sum(given.values())
    for place, step in enumerate(steps):
        live += step.nbytes
        most = max(most, live)
        live -= sum(size.get(value, 0) for value in {step.made, *step.read} if last[value] == place)
    return most
