"""Elementwise calls over large arrays, run tile by tile: every pass after the first finds its tile in the cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphdiff.plan.lowering.calls import Call
from graphdiff.plan.lowering.views import View
from graphdiff.plan.program import Tensor

__all__ = ["LARGE", "TILE", "Tiled", "tiled"]

TILE = 1 << 17
LARGE = 1 << 20
"""Elements of a tile, and of the smallest array that is worth cutting. Measured with Adam's ten passes in float32: 8 M
parameters take 10 ms in tiles and 15.5 ms whole, 2 M take as long either way, fewer lie in the cache as they are."""


@dataclass(eq=False)
class Tiled(Call):
    """Elementwise calls over arrays of one size."""

    parts: list[Call] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Elements of the arrays."""
        return self.parts[0].out.size  # type: ignore[union-attr]

    @property
    def count(self) -> int:
        """How many tiles."""
        return -(-self.size // TILE)

    def computed(self) -> list[Tensor]:
        """Return the nodes of all parts."""
        return [node for part in self.parts for node in part.computed()]

    @property
    def nbytes(self) -> int:
        """Bytes read and written."""
        return sum(part.nbytes for part in self.parts)

    def pieces(self) -> list[Call]:
        """Return the calls on all tiles, tile after tile."""
        return [piece for start in range(0, self.size, TILE) for piece in self._tile(start)]

    def _tile(self, start: int) -> list[Call]:
        place = (slice(start, start + TILE),)

        def cut(operand: Any) -> Any:
            if isinstance(operand, View) and operand.size == self.size:
                return operand.flat().indexed(place)
            return operand

        return [
            Call(part.function, tuple(map(cut, part.operands)), cut(part.out), part.keyword, node=part.node)
            for part in self.parts
        ]


def tiled(calls: list[Call]) -> list[Call]:
    """Join runs of elementwise calls over large arrays without gaps."""
    joined: list[Call] = []
    for call in calls:
        last = joined[-1] if joined else None
        if not _can_tile(call):
            joined.append(call)
        elif isinstance(last, Tiled) and call.out is not None and last.size == call.out.size and _together(last, call):
            last.parts.append(call)
            last.out, last.node = call.out, call.node
        else:
            joined.append(Tiled(call.function, (), call.out, node=call.node, parts=[call]))
    return [call.parts[0] if isinstance(call, Tiled) and len(call.parts) == 1 else call for call in joined]


def _can_tile(call: Call) -> bool:
    if not call.elementwise or call.out is None or call.out.size < LARGE or isinstance(call.function, (str, tuple)):
        return False
    fits = all(isinstance(operand, View) and operand.size in (1, call.out.size) for operand in call.operands)
    return fits and _independent([call])


def _together(group: Tiled, call: Call) -> bool:
    return _independent([*group.parts, call])


def _independent(calls: list[Call]) -> bool:
    """Whether a tile of every result depends on the same tile of every operand alone.

    All large arrays must lie in the same order, and what is written must not be read at another place.
    """
    views = [view for call in calls for view in (*call.operands, call.out) if isinstance(view, View)]
    large = [view for view in views if view.size > 1]
    written = {call.out.place() for call in calls if call.out is not None}
    roots = {root for root, _ in written}
    aligned = all(view.place() in written for view in views if view.place()[0] in roots and view.size > 1)
    apart = all(view.place()[0] not in roots for view in views if view.size == 1)
    return aligned and apart and (all(view.by_rows for view in large) or all(view.by_columns for view in large))
