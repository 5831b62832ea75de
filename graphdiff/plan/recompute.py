"""Rematerialisation: values that lie idle for long are computed again where they are needed, until memory suffices.

Greedy, as in: M. Kumar, M. Purohit, et al., Efficient rematerialization for deep networks, NeurIPS 2019, but with the
memory measured by planning anew after each choice, so that what is promised is what is held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from graphdiff.errors import CompileError
from graphdiff.plan.program import Program, clone, counted_flops
from graphdiff.tensor import Tensor

__all__ = ["fit_memory"]

_FREE = {"reshape", "permute_dims", "broadcast_to", "barrier"}
_TRIES = 200


@dataclass(frozen=True)
class _Choice:
    """A value to give up at one place and to compute again at another, with what that takes."""

    node: Tensor
    late: int
    again: tuple[Tensor, ...]
    flops: int

    @property
    def worth(self) -> float:
        """Bytes saved per operation spent; a value that is nothing but moved about counts one operation."""
        return _nbytes(self.node) / (self.flops + 1)


def fit_memory(program: Program, limit: int, memory: Callable[[Program], int]) -> tuple[Program, str]:
    """Recompute values until the program's memory is below a limit.

    Parameters
    ----------
    program : Program
    limit : int
        Bytes.
    memory : callable
        Returns the bytes that a program's plan holds.

    Returns
    -------
    program, note
        The note says what it costs.

    Raises
    ------
    CompileError
        The limit cannot be reached; the message has the least that could.
    """
    held = before = memory(program)
    flops = spent = sum(_flops(node) for node in program.nodes())
    refused: set[tuple[Tensor, int]] = set()
    recomputed = 0
    for _ in range(_TRIES):
        if held <= limit:
            price = spent / max(flops, 1) - 1
            return program, f"{recomputed} values computed again: {before:,} → {held:,} bytes for {price:+.1%} flops"
        choice = max(_choices(program, refused), key=lambda choice: choice.worth, default=None)
        if choice is None:
            break
        tried = _with(program, choice)
        least = memory(tried)
        if least < held:
            program, held, spent, recomputed = tried, least, spent + choice.flops, recomputed + 1
            refused = set()
        else:
            refused.add((choice.node, choice.late))
    raise CompileError(
        f"memory_limit={limit:,} bytes cannot be met: recomputing what can be recomputed, the plan holds {held:,} bytes"
    )


def _nbytes(node: Tensor) -> int:
    return math.prod(node.shape) * int(node.dtype.itemsize)


def _flops(node: Tensor) -> int:
    return 0 if node.op is None else counted_flops(node)


def _choices(program: Program, refused: set[tuple[Tensor, int]]) -> Iterator[_Choice]:
    """Yield the values that are kept over the place where most memory is held, though nothing there uses them."""
    order = program.nodes()
    place = {node: index for index, node in enumerate(order)}
    uses: dict[Tensor, list[int]] = {}
    for node in order:
        for operand in node.inputs:
            uses.setdefault(_origin(operand), []).append(place[node])
    for root in program.roots:
        uses.setdefault(_origin(root), []).append(len(order))
    held = [0] * (len(order) + 1)
    for node in order:
        if _is_held(node) and node in uses:
            for index in range(place[node], max(uses[node]) + 1):
                held[index] += _nbytes(node)
    peak = max(range(len(held)), key=held.__getitem__)
    for node in order:
        if not _is_held(node) or node not in uses or node.op is None or not node.op.pure:
            continue
        later = [use for use in uses[node] if use > peak]
        if place[node] < peak and later and peak not in uses[node] and len(order) not in later:
            late = min(later)
            again = _chain(node, late, place, uses)
            if again is not None and (node, late) not in refused:
                yield _Choice(node, late, again, sum(map(_flops, again)))


def _origin(node: Tensor) -> Tensor:
    """Return the node whose memory a view shows."""
    while node.op is not None and node.op.name in _FREE:
        node = node.inputs[0]
    return node


def _is_held(node: Tensor) -> bool:
    return node.recorded and node.op is not None and node.op.name not in _FREE and bool(node.shape)


def _chain(node: Tensor, late: int, place: dict[Tensor, int], uses: dict[Tensor, list[int]]) -> Any:
    """Return what must be computed again for `node` at a late place, operands first; None if it cannot be."""
    chain: dict[Tensor, None] = {}
    pending = [node]
    while pending:
        current = pending.pop()
        if current in chain or (current is not node and _is_there(current, late, uses)):
            continue
        if current.op is None:
            continue
        if not current.op.pure and current.op.name not in _FREE:
            return None
        chain[current] = None
        pending.extend(current.inputs)
    return tuple(sorted(chain, key=place.__getitem__))


def _is_there(node: Tensor, late: int, uses: dict[Tensor, list[int]]) -> bool:
    """Whether a value is still held at a late place because something there or later uses it."""
    origin = _origin(node)
    return origin.op is None or not _is_held(origin) or max(uses.get(origin, [0])) >= late


def _with(program: Program, choice: _Choice) -> Program:
    """Return the program in which everything from `choice.late` on uses the value computed again."""
    order = program.nodes()
    new: dict[Tensor, Tensor] = {}
    late: dict[Tensor, Tensor] = {}
    for index, node in enumerate(order):
        if index == choice.late:
            for each in choice.again:
                late[each] = clone(each, tuple(late.get(operand, new[operand]) for operand in each.inputs))
        if node.op is None:
            new[node] = node
            continue
        operands = tuple(
            late[operand] if operand in late and _gives(operand, choice) else new[operand] for operand in node.inputs
        )
        new[node] = clone(node, operands)
        if index > choice.late and node.op.name in _FREE and _origin(node) is choice.node:
            late.setdefault(node, new[node])
    return program.replaced(new)


def _gives(operand: Tensor, choice: _Choice) -> bool:
    return _origin(operand) is choice.node
