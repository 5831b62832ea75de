"""A schedule: calls in order, and where each stretch of memory that they need lies.

A backend's planner says which calls a program becomes; this module finds out how long each value lives, which calls may
write over an operand, and how all values fit into one workspace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphdiff.plan.lowering.calls import Call, Operand
from graphdiff.plan.lowering.placing import lowest_places
from graphdiff.plan.lowering.views import Storage, View

__all__ = ["ALIGNMENT", "Schedule"]

ALIGNMENT = 64
"""Bytes of whose multiple every stretch of the workspace begins: a cache line."""


class Schedule:
    """Calls in order: those that compute, and those that then change variables.

    Parameters
    ----------
    compute, commit : list of Call
    kept : iterable of View or Local
        What is read after the last call.
    reuse : bool
        Whether results may share memory.
    returned : sequence of View
        Results that the step gives away. One that fills its storage is made afresh by every run, of kind "fresh",
        instead of being copied out of the workspace.
    linger : int
        For how many more calls memory is not given to other results: these calls then need not wait for its readers.

    Attributes
    ----------
    overwritten : int
        How many results are written over an operand.
    workspace, unshared : int
        Bytes of scratch memory, and what they would be if every result had its own.
    """

    def __init__(
        self,
        compute: list[Call],
        commit: list[Call],
        kept: Iterable[Operand],
        reuse: bool = True,
        returned: Sequence[View] = (),
        linger: int = 0,
    ) -> None:
        self.compute = compute
        self.commit = commit
        self._kept = list(kept)
        lives = self._lifetimes()
        self.unshared = sum(-(-root.nbytes // ALIGNMENT) * ALIGNMENT for root in lives if root.is_shared)
        self.overwritten = self._write_over_operands(lives) if reuse else 0
        self._give_away(returned)
        self.workspace = self._place(reuse, linger)

    def _give_away(self, returned: Sequence[View]) -> None:
        """Let results that are returned, and that nothing else needs memory within, have memory of their own."""
        roots = [view.place()[0] for view in returned]
        committed = {root for call in self.commit for root in call.touched()}
        elsewhere = [operand.storage.root()[0] for operand in self._kept if isinstance(operand, View)]
        for view, root in zip(returned, roots, strict=True):
            whole = view.place()[1] == 0 and view.size == root.size and (view.by_rows or view.turned)
            alone = elsewhere.count(root) == 1 and root not in committed
            if whole and alone and root.is_shared and not root.spare:
                # What was merged into it may have been bits, read as integers.
                root.kind, root.dtype, root.source = "fresh", view.dtype, (view.shape, view.turned)

    def _scratch(self) -> dict[Storage, tuple[int, int]]:
        """Return when each storage of the workspace is needed."""
        return {root: life for root, life in self._lifetimes().items() if root.is_shared}

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [*self.compute, *self.commit]

    def _lifetimes(self) -> dict[Storage, tuple[int, int]]:
        """Return the first and last call that touches each root storage."""
        lives: dict[Storage, tuple[int, int]] = {}
        for place, call in enumerate(self.calls):
            for root in call.touched():
                lives[root] = (lives.get(root, (place, place))[0], place)
        end = len(self.compute) + len(self.commit)
        for operand in self._kept:
            views = [operand.storage] if isinstance(operand, View) else list(getattr(operand, "roots", ()))
            for storage in views:
                root = storage.root()[0]
                lives[root] = (lives.get(root, (end, end))[0], end)
        return lives

    def _write_over_operands(self, lives: dict[Storage, tuple[int, int]]) -> int:
        """Let results take the memory of operands that nobody needs any more."""
        count = 0
        for place, call in enumerate(self.calls):
            if call.out is None:
                continue
            result = call.out.storage.root()[0]
            if result.kind != "scratch" or lives[result][0] != place:
                continue
            for index in call.over:
                operand = call.operands[index]
                if not isinstance(operand, View) or not operand.fits(call.out):
                    continue
                root, start = operand.place()
                if root is result or root.kind != "scratch" or lives[root][1] != place:
                    continue
                if self._merge(result, call.out.place()[1], root, start):
                    lives[result.root()[0]] = (lives[root][0], lives[result][1])
                    count += 1
                    break
        return count

    @staticmethod
    def _merge(result: Storage, result_start: int, operand: Storage, operand_start: int) -> bool:
        """Make two storages one, aligned so that the views that begin at the two starts coincide."""
        if result.private and operand.private:
            return False
        inner, outer, shift = result, operand, operand_start - result_start
        if result.private or shift < 0 or shift + result.size > operand.size:
            inner, outer, shift = operand, result, result_start - operand_start
        if shift < 0 or shift + inner.size > outer.size or inner.private:
            return False
        inner.become(outer, shift)
        return True

    def _place(self, reuse: bool, linger: int) -> int:
        """Give every scratch storage an offset in the workspace; return its size in bytes.

        Largest first, each at the lowest offset that is free as long as it lives.
        """
        lives = self._scratch()
        order = sorted(lives, key=lambda root: (-root.nbytes, lives[root]))
        sizes = [-(-root.nbytes // ALIGNMENT) * ALIGNMENT for root in order]
        needed = [(lives[root][0], lives[root][1] + linger) if reuse else (0, 0) for root in order]
        offsets = lowest_places(sizes, needed)
        for root, offset in zip(order, offsets, strict=True):
            root.offset = offset
        return max(map(sum, zip(offsets, sizes, strict=True)), default=0)
