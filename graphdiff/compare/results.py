"""The report on the modes: figures per mode, and its forms as text and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphdiff.compare.crossover import Crossover
from graphdiff.compare.terms import CHEAP_GRADIENT, COLUMNS
from graphdiff.costs.node import Cost
from graphdiff.errors import GraphError
from graphdiff.files.atomic import write_atomically
from graphdiff.text.tables import plain, table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

__all__ = ["FULL", "Comparison", "ModeResult", "require_known"]

FULL = 118
"""Columns of a terminal that take the whole table."""

FIRST_LEFT_OUT = ("± µs", "transc.", "kB moved")


@dataclass(frozen=True)
class ModeResult:
    """One mode: what it was counted to cost, what it took, and how accurate it was.

    Attributes
    ----------
    mode : str
    cost : Cost or None
        None if it could not be counted.
    median, spread : float
        Seconds; the spread is the distance between the quartiles.
    error : float
        The largest difference from the reference, relative to its largest entry.
    note : str
        Why a mode was not run.
    """

    mode: str
    cost: Cost | None = None
    median: float = math.nan
    spread: float = math.nan
    error: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """What `compare_modes` found; prints as a table.

    Attributes
    ----------
    name : str
    inputs, outputs : int
        Elements.
    value : ModeResult
        The function itself.
    results : list of ModeResult
    reference : str
        What accuracy is measured against.
    gradient_ratio : float
        Seconds of one reverse pass (value and one adjoint) over seconds of the function.
    counted_ratio : float
        The same in counted floating-point operations, which the cheap-gradient bound is about.
    calibration : float
        Measured over counted seconds on this machine, the median over the modes that ran; predictions that are shown
        are scaled by it.
    machine : str
        What it was measured on.
    crossover : Crossover or None
        How time grows with the number of directions, forward and reverse.
    """

    name: str
    inputs: int
    outputs: int
    value: ModeResult
    results: list[ModeResult]
    reference: str
    gradient_ratio: float
    counted_ratio: float
    calibration: float
    machine: str
    crossover: Crossover | None = None

    def predicted(self, result: ModeResult) -> float:
        """Return the seconds that a mode was predicted to take, calibrated on this machine; NaN if none was counted."""
        return result.cost.seconds * self.calibration if result.cost else math.nan

    @property
    def fastest(self) -> str:
        """The mode that took least time, finite differences apart."""
        return min(self._exact(), key=lambda each: each.median).mode

    @property
    def cheapest(self) -> str:
        """The mode that was predicted to take least time, of those that ran, finite differences apart."""
        counted = [(each.cost.seconds, each.mode) for each in self._exact() if each.cost]
        return min(counted, key=lambda pair: pair[0])[1]

    def _exact(self) -> list[ModeResult]:
        ran = [each for each in self.results if not each.note]
        return [each for each in ran if each.mode != "finite differences"] or ran

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per mode, the function itself first."""
        return [
            {
                "mode": each.mode,
                "microseconds": 1e6 * each.median,
                "spread": 1e6 * each.spread,
                "predicted": 1e6 * self.predicted(each),
                **(asdict(each.cost) if each.cost else {}),
                "flops": each.cost.flops if each.cost else None,
                "error": each.error,
                "note": each.note,
            }
            for each in [self.value, *self.results]
        ]

    def summary(self) -> str:
        """Return what the figures say, in words."""
        lines = [
            f"predicted cheapest: {self.cheapest}; measured fastest: {self.fastest}",
            f"one reverse pass costs {self.counted_ratio:.2f} × the function in counted operations "
            f"(cheap-gradient bound: {CHEAP_GRADIENT:.0f}) and {self.gradient_ratio:.2f} × in measured time",
            f"errors are relative to {self.reference}",
            f"predictions are counted, and scaled by {self.calibration:.2f} to this machine: {self.machine}",
        ]
        if self.crossover:
            lines.insert(1, self.crossover.summary(self.inputs, self.outputs))
        return "\n".join(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        left_out = FIRST_LEFT_OUT if options.max_width < FULL else ()
        kept = [place for place, column in enumerate(COLUMNS) if column not in left_out]
        cells = self.cells()
        beyond = range(1, len(kept))
        yield table(
            [COLUMNS[place] for place in kept],
            [[row[place] for place in kept] for row in cells],
            title=self.title(),
            caption=self.summary(),
            right=beyond,
            wrap=beyond,
            bold=[place for place, row in enumerate(cells) if row[0] == self.fastest],
        )

    def title(self) -> str:
        """Return what was compared."""
        return f"{self.name}: the Jacobian of {self.outputs} outputs by {self.inputs} inputs"

    def cells(self) -> list[list[str]]:
        """Return the table's cells as text, in the order of `COLUMNS`."""
        cells = []
        for each in [self.value, *self.results]:
            cost = each.cost
            measured = [f"{1e6 * each.median:,.1f}", f"{1e6 * each.spread:,.1f}"] if not each.note else ["–", "–"]
            counted = (
                [
                    f"{1e6 * self.predicted(each):,.1f}",
                    f"{cost.flops:,}",
                    f"{cost.transcendental:,}",
                    f"{cost.nbytes / 1e3:,.1f}",
                    f"{cost.peak_memory / 1e3:,.1f}" if cost.peak_memory else "–",
                ]
                if cost
                else ["–"] * 5
            )
            error = each.note or ("" if math.isnan(each.error) else f"{each.error:.0e}")
            cells.append([each.mode, *measured, *counted, error])
        return cells

    def text(self, width: int = FULL) -> str:
        """Return the table for a terminal of so many columns; a narrow one leaves out what is least asked for."""
        return plain(self, width)

    def __str__(self) -> str:
        return self.text()

    def to_json(self) -> str:
        """Return everything as JSON; what was not measured is null."""
        whole = {
            "function": self.name,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "reference": self.reference,
            "gradient_ratio": self.gradient_ratio,
            "counted_ratio": self.counted_ratio,
            "cheap_gradient_bound": CHEAP_GRADIENT,
            "fastest": self.fastest,
            "cheapest": self.cheapest,
            "calibration": self.calibration,
            "machine": self.machine,
            "modes": self.rows(),
            "crossover": asdict(self.crossover) if self.crossover else None,
        }
        return json.dumps(_without_nan(whole), indent=1)

    if TYPE_CHECKING:  # attached in graphdiff.compare; named here for type checkers

        def to_html(self) -> str: ...

    def save(self, path: str | Path) -> Path:
        """Write the report as .html, .json or .txt.

        Raises
        ------
        GraphError
            Another ending.
        DataError
            The file cannot be written; what was there before still is.
        """
        path = Path(path)
        require_known(path)
        writers: dict[str, Callable[[], str]] = {".html": self.to_html, ".json": self.to_json, ".txt": self.__str__}
        return write_atomically(path, writers[path.suffix]().encode())


def require_known(path: Path) -> None:
    """Refuse a path whose ending is none of a report.

    Raises
    ------
    GraphError
        It is not .html, .json or .txt.
    """
    if path.suffix not in (".html", ".json", ".txt"):
        raise GraphError(f"a report is saved as .html, .json or .txt, not {path.suffix or path.name!r}")


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
