"""Which sort of work an op does, and how much of it: what counts of costs are made of."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from graphdiff.typing import Array

__all__ = ["SORTS", "Sort", "Work", "summing"]

Sort = Literal["multiplication", "addition", "transcendental", "sign", "comparison", "move", "view"]
SORTS: tuple[str, ...] = get_args(Sort)


class Work(NamedTuple):
    """The floating-point operations of one evaluation, for ops that do not do the same for every element.

    Attributes
    ----------
    multiplications, additions : int
    products : int
        Of both, those within matrix products.
    by_rows : bool
        Whether an inner loop begins anew for each row that is reduced or broadcast along.
    """

    multiplications: int = 0
    additions: int = 0
    products: int = 0
    by_rows: bool = True


def summing(out: Array, x: Array) -> Work:
    """Return the work of adding the elements of `x` up to fewer results."""
    return Work(additions=max(0, x.size - out.size))
