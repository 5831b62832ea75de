"""What a plan says about itself: what every pass did, what runs, and where the time goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphdiff.costs.node import Cost, node_cost
from graphdiff.plan.lowering.calls import Instruction
from graphdiff.tensor import Tensor
from graphdiff.text.tables import plain, table

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Profile", "counted", "explanation"]


def counted(nodes: Iterable[Tensor], instructions: Sequence[Instruction], memory: int) -> Cost:
    """Return what a run costs: the nodes' operations, the instructions' bytes, and the memory that the plan holds."""
    moved = sum(each.nbytes for each in instructions)
    return replace(sum(map(node_cost, nodes), Cost()), nbytes=moved, peak_memory=memory, runs=1)


def explanation(name: str, notes: Sequence[tuple[str, str]], instructions: Sequence[Instruction], cost: Cost) -> str:
    """Return what every pass did, and the final instructions with their buffers, flops and bytes."""
    passes = table(("passes", ""), notes, rule="none")
    rows = [
        [
            str(place),
            each.text,
            "×".join(map(str, each.shape)) or "number",
            each.where,
            f"{each.flops:,}",
            f"{each.nbytes:,}",
        ]
        for place, each in enumerate(instructions)
    ]
    total = (
        f"total: {len(instructions)} instructions, {cost.flops:,} flops, {cost.nbytes:,} bytes moved, "
        f"{cost.peak_memory:,} bytes held"
    )
    headings = ("#", "instruction", "result", "buffer", "flops", "bytes")
    made = table(headings, rows, caption=total, right=(0, 4, 5), rule="none")
    return "\n\n".join([f"plan of {name}", plain(passes), plain(made)])


@dataclass(frozen=True)
class Profile:
    """Where the time of a plan goes; prints as a table, quickest way to see what to mend.

    Attributes
    ----------
    instructions : list of Instruction
    seconds : list of float
        Median time of each instruction.
    total : float
        Time of the whole run with a clock read after every instruction, in seconds; less the sum of the instructions
        it is `overhead`.
    untimed : float
        Median time of a run without the clock.
    """

    instructions: list[Instruction]
    seconds: list[float]
    total: float
    untimed: float

    @property
    def overhead(self) -> float:
        """Seconds that no instruction accounts for."""
        return self.total - sum(self.seconds)

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per instruction: text, op, microseconds, share, flops, bytes, GFLOP/s, GB/s."""
        return [
            {
                "instruction": each.text,
                "op": each.op,
                "microseconds": 1e6 * seconds,
                "share": seconds / self.total,
                "flops": each.flops,
                "bytes": each.nbytes,
                "gflops": each.flops / seconds / 1e9 if seconds else 0.0,
                "gbytes": each.nbytes / seconds / 1e9 if seconds else 0.0,
            }
            for each, seconds in zip(self.instructions, self.seconds, strict=True)
        ]

    def __rich__(self) -> RenderableType:
        title = f"{1e6 * self.untimed:,.1f} µs per run; {1e6 * self.total:,.1f} µs with the clock read after every call"
        rows = [
            [
                row["instruction"],
                f"{row['microseconds']:.2f}",
                f"{row['share']:.1%}",
                f"{row['flops'] / 1e3:,.1f}",
                f"{row['bytes'] / 1e3:,.1f}",
                f"{row['gflops']:.1f}",
                f"{row['gbytes']:.1f}",
            ]
            for row in sorted(self.rows(), key=lambda row: -row["microseconds"])
        ]
        headings = ("instruction", "µs", "share", "kflop", "kB", "GFLOP/s", "GB/s")
        return table(headings, rows, title=title, right=range(1, 7), wrap=(0,))

    def __str__(self) -> str:
        return plain(self, 110)
