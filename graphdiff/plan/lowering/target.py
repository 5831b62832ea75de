"""What the machine that a program is lowered for can do, and what is worth its while there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphdiff.plan.lowering.instructions import Product
from graphdiff.plan.lowering.views import dense_strides
from graphdiff.typing import Shape

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """Abilities of a machine.

    Attributes
    ----------
    supports : callable
        Whether it has an algorithm for a product as it is.
    precision : str
        In which products of float32 are computed.
    epilogs : bool
        Whether products may compute what follows them.
    groups : bool
        Whether small loops are put one behind the other, to share a kernel.
    draws : bool
        Whether uniform random numbers are drawn in a loop, not by the generator's own call.
    refuses : bool
        Whether a step stops at labels, indices and values that an op refuses; else they become NaN, or are clipped.
    tiny : int
        Multiplications up to which a matrix product is a loop with its neighbours, not an instruction of its own.
    stacked : int
        Multiplications up to which any other product is a loop, not a call of the op's own kernel.
    long : int
        Values from which on one result is put together in two stages.
    columns : int
        Features up to which a matrix of more examples than features lies by columns, so that the examples lie side by
        side.
    line : int
        Bytes of whose multiple a column then begins.
    """

    supports: Callable[[Product], bool]
    precision: str = "float32"
    epilogs: bool = True
    groups: bool = True
    draws: bool = True
    refuses: bool = False
    tiny: int = 0
    stacked: int = 1 << 24
    long: int = 1 << 62
    columns: int = 0
    line: int = 1

    def strides(self, shape: Shape, width: int) -> Shape:
        """Return how a new array of elements of so many bytes lies, in elements.

        Examples
        --------
        >>> Target(lambda product: True, columns=16, line=64).strides((100, 2), 4)
        (1, 112)
        """
        if not (len(shape) == 2 and 1 < shape[1] <= self.columns and shape[0] > shape[1]):
            return dense_strides(shape)
        line = max(self.line // width, 1)
        return (1, shape[0] if shape[0] < line else -(-shape[0] // line) * line)
