"""How many threads and blocks a kernel has, and how many of a block's threads make one result."""

from __future__ import annotations

from graphdiff.plan.lowering.instructions import Unit
from graphdiff.plan.lowering.reductions import axes_of
from graphdiff_cupy.grouping import Group

__all__ = ["BLOCKS", "launch_size", "sums_rows", "threads_for_one"]

THREADS = 256
BLOCKS = 132 * 8
"""Enough for every multiprocessor of the largest GPUs to have several blocks."""


def launch_size(group: Group) -> tuple[int, int]:
    """Return how many threads a block has, and how many blocks there are."""
    largest = max(unit.work for unit in group.units)
    if group.rows:
        return min(max(_power_of_two(largest // group.rows), 32), THREADS), min(group.rows, 1 << 14)
    if len(group.units) > 1:
        return min(max(_power_of_two(largest), 32), 1024), 1
    (unit,) = group.units
    each = THREADS // threads_for_one(unit, THREADS, 0) if unit.reduced is not None else THREADS
    return THREADS, min(-(-unit.size // each), BLOCKS)


def threads_for_one(unit: Unit, threads: int, outputs: int) -> int:
    """Return how many threads put together one result: a power of two.

    Parameters
    ----------
    unit : Unit
    threads : int
        Of a block.
    outputs : int
        How many results one block has to make; 0 where there are blocks enough for all.
    """
    most = min(_power_of_two(unit.inner), threads)
    if not sums_rows(unit) and not 0 < outputs < 32:
        return max(min(threads // min(32, _power_of_two(unit.size)), most), 1)
    return max(min(threads // min(_power_of_two(outputs), threads), most), 1) if outputs else most


def sums_rows(unit: Unit) -> bool:
    """Whether neighbouring elements in memory are put together, not kept apart."""
    assert unit.reduced is not None
    if unit.chunk or unit.partials is not None:
        return True
    if unit.reduced.op is not None and unit.reduced.op.name == "matmul":
        return False
    return unit.reduced.inputs[0].ndim - 1 in axes_of(unit.reduced)


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
