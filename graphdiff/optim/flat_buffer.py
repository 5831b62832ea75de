"""The flat parameter buffer: parameters of one dtype in one flat array, so that an update is a few passes over it."""

from __future__ import annotations

from collections.abc import Sequence

from graphdiff.op import GRAPH as F
from graphdiff.tensor import MOVES, Tensor, Variable, variable
from graphdiff.typing import Array

__all__ = ["FlatBuffer", "buffer_of", "laid_flat"]


class FlatBuffer:
    """Variables of one dtype and backend whose values are views of one flat variable.

    Attributes
    ----------
    members : list of Variable
    flat : Variable of shape (total size,)
    intact : bool
        False once a member has moved to another buffer.
    """

    def __init__(self, members: Sequence[Variable]) -> None:
        self.members = list(members)
        self.backend = members[0].backend
        self.intact = True
        self._places: dict[Variable, slice] = {}
        start = 0
        for member in self.members:
            self._places[member] = slice(start, start + member.size)
            start += member.size
        self.flat = variable(laid_flat(self.members))
        self.flat.home = self
        self.flat.pin()
        # No value changes by moving, so that graphs built before are not stale.
        self.flat.clock = [max(member.clock[place] for member in self.members) for place in (0, 1)]
        for member in self.members:
            if member.home is not None:
                member.home.intact = False
            member.home = self
            member.clock = self.flat.clock
        if self.backend.in_place:
            self.show()
            for member in self.members:
                member.pinned = True
        MOVES[0] += 1

    def place(self, member: Variable) -> slice:
        """Return where a member lies in the flat array."""
        return self._places[member]

    def part(self, whole: Tensor, member: Variable) -> Tensor:
        """Return a member's value out of the flat one, as graph."""
        return F.reshape(whole[self._places[member]], member.shape)

    def show(self) -> None:
        """Make the members' values what the flat array holds."""
        reshape = self.backend.numbers.reshape
        for member, place in self._places.items():
            member._value = reshape(self.flat._value[place], member.shape)

    def gather(self) -> None:
        """Bring the flat array up to date, on backends where members' values are no views of it."""
        if not self.backend.in_place:
            self.flat._value = laid_flat(self.members)


def laid_flat(members: Sequence[Variable]) -> Array:
    """Return the values of variables one behind the other, as a flat array of its own."""
    numbers = members[0].backend.numbers
    return numbers.concat([numbers.reshape(member._value, (-1,)) for member in members])


def buffer_of(members: Sequence[Variable]) -> FlatBuffer:
    """Return the flat buffer that holds exactly these variables, made if there is none."""
    home: FlatBuffer | None = members[0].home
    if home is not None and home.intact and list(map(id, members)) == list(map(id, home.members)):
        return home
    return FlatBuffer(members)
