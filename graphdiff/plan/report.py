"""What a plan says about itself: what every pass did, what runs, and where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphdiff.plan.calls import Instruction

__all__ = ["Cost", "Profile", "explanation"]


@dataclass(frozen=True)
class Cost:
    """What one run costs, counted from the instructions.

    Attributes
    ----------
    flops : int
        Floating-point operations.
    nbytes : int
        Bytes read and written by all instructions together.
    peak_memory : int
        Bytes that the plan holds besides the variables.
    """

    flops: int
    nbytes: int
    peak_memory: int


def counted(instructions: Sequence[Instruction], memory: int) -> Cost:
    """Add up the instructions."""
    return Cost(sum(each.flops for each in instructions), sum(each.nbytes for each in instructions), memory)


def explanation(name: str, notes: Sequence[tuple[str, str]], instructions: Sequence[Instruction], cost: Cost) -> str:
    """Return what every pass did, and the final instructions with their buffers, flops and bytes."""
    lines = [f"plan of {name}", "", "passes"]
    width = max((len(title) for title, _ in notes), default=0)
    lines += [f"  {title:<{width}}  {text}" for title, text in notes]
    texts = max((len(each.text) for each in instructions), default=0)
    texts = min(max(texts, 12), 64)
    lines += ["", f"  {'#':>3}  {'instruction':<{texts}}  {'result':<12} {'buffer':<18}{'flops':>12}{'bytes':>12}"]
    for place, each in enumerate(instructions):
        shape = "×".join(map(str, each.shape)) or "number"
        lines.append(
            f"  {place:>3}  {each.text:<{texts}}  {shape:<12} {each.where:<18}{each.flops:>12,}{each.nbytes:>12,}"
        )
    lines.append(
        f"  total: {len(instructions)} instructions, {cost.flops:,} flops, {cost.nbytes:,} bytes moved, "
        f"{cost.peak_memory:,} bytes held"
    )
    return "\n".join(lines)


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

    def __rich__(self) -> Any:
        from rich.table import Table

        title = f"{1e6 * self.untimed:,.1f} µs per run; {1e6 * self.total:,.1f} µs with the clock read after every call"
        table = Table(title=title, title_justify="left")
        table.add_column("instruction", overflow="fold")
        for title in ("µs", "share", "kflop", "kB", "GFLOP/s", "GB/s"):
            table.add_column(title, justify="right")
        for row in sorted(self.rows(), key=lambda row: -row["microseconds"]):
            table.add_row(
                row["instruction"],
                f"{row['microseconds']:.2f}",
                f"{row['share']:.1%}",
                f"{row['flops'] / 1e3:,.1f}",
                f"{row['bytes'] / 1e3:,.1f}",
                f"{row['gflops']:.1f}",
                f"{row['gbytes']:.1f}",
            )
        return table

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=110)
        with console.capture() as captured:
            console.print(self)
        return captured.get()
